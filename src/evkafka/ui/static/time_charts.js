// The charts of the app, a consumer, one of its topics or partitions, over a time span that the person selects.

import { get } from "./api.js";
import { chart } from "./chart.js";
import { cell, h } from "./dom.js";
import { rate, seconds, short } from "./format.js";
import { timeSpans } from "./time_spans.js";

const lag = { title: "Lag in records", lines: [{ name: "lag", key: "lag", colour: "first" }], format: short, whole: true };

const ofRecords = [
  { title: "Records per second", lines: [{ name: "handled", key: "handled_per_s", colour: "first" }, { name: "failed", key: "failed_per_s", colour: "second" }], format: rate },
  lag,
  { title: "Duration of an attempt", lines: [{ name: "median", key: "p50_s", colour: "first" }, { name: "p95", key: "p95_s", colour: "second" }], format: seconds },
];

const ofPartition = [
  { title: "Records read per second", lines: [{ name: "read", key: "read_per_s", colour: "first" }], format: rate },
  lag,
];

/**
 * `subject` is {} for the app, or { consumer, topic, partition }, of which the last ones may be absent. Every snapshot
 * has the app's last five minutes; everything else is requested once for each of its steps.
 */
export function timeCharts(subject = {}) {
  const charts = (subject.partition === undefined ? ofRecords : ofPartition).map((one) => ({ ...one, element: chart(one.title, one.lines, one.format, one) }));
  const spans = timeSpans(() => { nextAt = 0; load(); });
  const wrong = cell("p", { class: "small quiet", role: "status" });
  const isOfApp = subject.consumer === undefined;
  let nextAt = 0; // when the charts are requested again
  let newest = null;
  let requests = 0;

  function draw(series) {
    for (const { element, lines } of charts) element.show(series.at_s, ...lines.map((line) => series[line.key]));
  }

  async function load() {
    if (isOfApp && spans.value === "5m") return newest && draw(newest.history);
    if (Date.now() < nextAt) return;
    nextAt = Infinity; // until the answer has come
    const request = ++requests;
    try {
      const series = await get("history", { ...subject, span: spans.value });
      if (request !== requests) return; // another span was selected meanwhile
      draw(series);
      wrong.setText("");
      nextAt = Date.now() + series.step_s * 1000;
    } catch (error) {
      if (request !== requests) return;
      wrong.setText(error.message);
      nextAt = Date.now() + 5000;
    }
  }

  const screen = h("section", { class: "stack history", "aria-label": "History" }, h("div", { class: "top" }, h("h2", {}, "History"), wrong, h("span", { class: "spring" }), spans), h("div", { class: "charts" }, charts.map((one) => one.element)));
  screen.show = (snapshot) => {
    newest = snapshot;
    load();
  };
  screen.end = () => {
    requests += 1;
    for (const { element } of charts) element.end();
  };
  return screen;
}
