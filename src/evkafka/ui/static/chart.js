// A chart over time: uPlot (a classic script, loaded before this one), coloured by the style sheet.

import { cell, h } from "./dom.js";

const axisFont = "12px system-ui, sans-serif";
const wholeSteps = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const made = new Set();

// Hours and minutes; seconds too where the marks are closer than that.
function minuteOf(at, marks) {
  return new Date(at * 1000).toLocaleTimeString("en-GB").slice(0, marks.length > 1 && marks[1] - marks[0] < 60 ? 8 : 5);
}

/**
 * A figure with one line for each series.
 * `series` are { name, colour } with colour "first" or "second"; `say` turns a value into text; `whole` keeps marks between whole numbers away.
 */
export function chart(title, series, say, { whole = false } = {}) {
  const keys = series.map((one) => cell("span"));
  const caption = h("figcaption", {}, title, h("div", { class: "keys" }, series.map((one, at) =>
    h("span", { class: "key" }, h("span", { class: `swatch ${one.colour}` }), `${one.name} `, keys[at]))));
  const plot = h("div", { class: "plot", role: "img", "aria-label": title });
  const figure = h("figure", { class: "card live" }, caption, plot);
  let drawn = null;

  const colour = (name) => getComputedStyle(figure.querySelector(`.${name}`)).color;
  const quiet = () => getComputedStyle(figure.querySelector(".key")).color;
  const grid = () => getComputedStyle(figure).borderTopColor;
  const size = () => ({ width: Math.max(plot.clientWidth, 120), height: Math.max(plot.clientHeight, 60) });

  function draw(data) {
    const axis = { stroke: quiet, font: axisFont, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const options = {
      ...size(),
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false, x: false, y: false } },
      hooks: { setCursor: [pointed] },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.12 : 1] } },
      axes: [
        { ...axis, size: 30, gap: 8, space: 46, values: (_, marks) => marks.map((at) => minuteOf(at, marks)) },
        { ...axis, size: 52, space: 34, ...(whole ? { incrs: wholeSteps } : {}), values: (_, marks) => marks.map((mark) => say(mark)) },
      ],
      series: [{}, ...series.map((one) => ({ label: one.name, stroke: () => colour(one.colour), width: 1.75, points: { show: false }, spanGaps: false }))],
    };
    drawn = new window.uPlot(options, data, plot);
    made.add(repaint);
    sized.observe(plot);
  }

  // Under the pointer: the values there; otherwise the newest ones.
  function pointed(u) {
    const at = u.cursor.idx ?? u.data[0].length - 1;
    keys.forEach((key, which) => key.say(say(u.data[which + 1][at])));
  }

  const repaint = () => drawn?.redraw(false, true);
  const sized = new ResizeObserver(() => drawn?.setSize(size()));

  figure.show = (times, ...values) => {
    const data = [times, ...values];
    if (drawn) drawn.setData(data);
    else if (times.length > 1 && plot.isConnected && plot.clientWidth) draw(data);
    if (drawn) pointed(drawn);
    const newest = values.map((list, at) => `${series[at].name} ${say(list.at(-1))}`).join(", ");
    plot.setAttribute("aria-label", `${title}: now ${newest}`);
  };
  figure.end = () => {
    made.delete(repaint);
    sized.disconnect();
    drawn?.destroy();
    drawn = null;
  };
  return figure;
}

/** Light or dark has changed: what is drawn on canvases takes the new colours. */
export function repaintAll() {
  for (const repaint of made) repaint();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaintAll);
