// A chart over time, drawn by uPlot (a classic script that is loaded before). Its colours come from the style sheet.

import { cell, h } from "./dom.js";

const axisFont = "12px system-ui, sans-serif";
const wholeSteps = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const repaints = new Set();

const timeSteps = [1, 2, 5, 10, 15, 30, 60, 120].map((minutes) => minutes * 60);
const timeLabel = (at) => new Date(at * 1000).toLocaleTimeString("en-GB").slice(0, 5);

// Values between two gaps: a line would not show them.
function alone(u, which) {
  const values = u.data[which];
  const found = values.flatMap((value, at) => (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? [at] : []));
  return found.length ? found : null;
}

/**
 * Create a figure with one line for each series. A line has gaps where values are unknown.
 * `series` are { name, colour } with colour "first" or "second"; `format` turns a value into text; with `whole` the axis has whole numbers only.
 */
export function chart(title, series, format, { whole = false } = {}) {
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
      padding: [8, 26, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false, x: false, y: false } },
      hooks: { setCursor: [showKeys] },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.12 : 1] } },
      axes: [
        { ...axis, size: 30, gap: 8, space: 50, incrs: timeSteps, values: (_, marks) => marks.map(timeLabel) },
        { ...axis, size: 52, space: 34, ...(whole ? { incrs: wholeSteps } : {}), values: (_, marks) => marks.map((mark) => format(mark)) },
      ],
      series: [{}, ...series.map((one) => ({ label: one.name, stroke: () => colour(one.colour), width: 1.75, points: { show: false, filter: alone, size: 4, fill: () => colour(one.colour) }, spanGaps: false }))],
    };
    drawn = new window.uPlot(options, data, plot);
    repaints.add(repaint);
    sized.observe(plot);
  }

  // The keys show the values under the pointer, or the newest ones.
  function showKeys(u) {
    const at = u.cursor.idx ?? u.data[0].length - 1;
    keys.forEach((key, which) => key.setText(format(u.data[which + 1][at])));
  }

  const repaint = () => drawn?.redraw(false, true);
  const sized = new ResizeObserver(() => drawn?.setSize(size()));

  figure.show = (times, ...values) => {
    const data = [times, ...values];
    if (drawn) drawn.setData(data);
    else if (times.length > 1 && plot.isConnected && plot.clientWidth) draw(data);
    if (drawn) showKeys(drawn);
    const newest = values.map((list, at) => `${series[at].name} ${format(list.at(-1))}`).join(", ");
    plot.setAttribute("aria-label", `${title}: now ${newest}`);
  };
  figure.end = () => {
    repaints.delete(repaint);
    sized.disconnect();
    drawn?.destroy();
    drawn = null;
  };
  return figure;
}

/** Redraw all charts in the colours of the theme, after it has changed. */
export function repaintAll() {
  for (const repaint of repaints) repaint();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaintAll);
