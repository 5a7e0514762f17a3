// The overview: problems with the first thing to do, current figures, charts of the last minutes, and all consumers.

import { card, cell, each, h, shown, state, table } from "./dom.js";
import { chart } from "./chart.js";
import { problems } from "./problems.js";
import { count, rate, seconds, short } from "./format.js";
import { to } from "./router.js";

const LATE_S = 60;

export function overview() {
  const wrong = problems();
  const tiles = figures();
  const charts = timeCharts();
  const list = consumers();
  const screen = h("div", { class: "stack" }, wrong, tiles, charts, list);
  screen.show = (snapshot) => {
    wrong.show(snapshot.problems);
    tiles.show({ ...snapshot.now, ...snapshot.letters });
    charts.show(snapshot.history);
    list.show(snapshot.consumers);
  };
  screen.end = () => charts.end();
  return screen;
}

function tile(name, valuesOf) {
  const figure = cell("span", { class: "figure" });
  const note = cell("div", { class: "note" });
  const box = h("div", { class: "card tile" }, h("dt", {}, name), h("dd", {}, figure, note));
  return shown(box, (now) => {
    const [value, under = "", kind = ""] = valuesOf(now);
    figure.setText(value);
    note.setText(under);
    box.className = kind ? `card tile ${kind}` : "card tile";
  });
}

function figures() {
  const tiles = [
    tile("Handled per second", (now) => [rate(now.handled_per_s), `${short(now.handled)} in all`]),
    tile("Failed per second", (now) => [rate(now.failed_per_s), `${short(now.failed)} in all`, now.failed_per_s > 0 ? "bad" : ""]),
    tile("Lag", (now) => [short(now.lag), now.lag_s > 0 ? `oldest: ${seconds(now.lag_s)}` : "records to the end", now.lag_s > LATE_S ? "warn" : ""]),
    tile("95 % within", (now) => [seconds(now.p95_s), `median ${seconds(now.p50_s)}`]),
    tile("In flight", (now) => [count(now.in_flight), now.in_flight ? `oldest: ${seconds(now.oldest_s)}` : "nothing runs"]),
    tile("Dead letters", (now) => [count(now.counted || now.open ? now.open : null), `open; ${count(now.dead_lettered)} written since the start`, now.open ? "warn" : ""]),
  ];
  return shown(h("dl", { class: "tiles live", "aria-label": "Now" }, tiles), (now) => tiles.forEach((one) => one.show(now)));
}

function timeCharts() {
  const speed = chart("Records per second", [{ name: "handled", colour: "first" }, { name: "failed", colour: "second" }], rate);
  const behind = chart("Lag in records", [{ name: "behind", colour: "first" }], short, { whole: true });
  const time = chart("Time of an attempt", [{ name: "median", colour: "first" }, { name: "95th percentile", colour: "second" }], seconds);
  const all = shown(h("div", { class: "charts" }, speed, behind, time), (past) => {
    speed.show(past.at_s, past.handled_per_s, past.failed_per_s);
    behind.show(past.at_s, past.lag);
    time.show(past.at_s, past.p50_s, past.p95_s);
  });
  all.end = () => [speed, behind, time].forEach((one) => one.end());
  return all;
}

function consumers() {
  const rows = table("Consumers", ["Consumer", "State", ["Lag", "number"], ["Oldest", "number"], ["Per second", "number"], ["Partitions", "number"], "Reads"]);
  const section = card("Consumers", { id: "consumers", live: true, aside: h("a", { href: to("consumers") }, "Partitions and positions") }, rows);
  return shown(section, (list) => each(rows.body, list, (one) => one.name, row));
}

function row(first) {
  const label = state();
  const why = cell("div", { class: "small quiet" });
  const [lag, oldest, speed, partitions] = [0, 1, 2, 3].map(() => cell("td", { class: "number" }));
  const reads = cell("td", { class: "long" });
  const link = h("a", { href: to("consumers", { consumer: first.name }) }, first.name);
  return shown(h("tr", {}, h("th", { scope: "row" }, link), h("td", { class: "long" }, label, why), lag, oldest, speed, partitions, reads), (one) => {
    label.setText(one.state, one.kind);
    why.setText(one.reasons[0] ?? one.notes[0] ?? "");
    lag.setText(count(one.lag));
    oldest.setText(seconds(one.lag_s));
    speed.setText(rate(one.handled_per_s));
    partitions.setText(count(one.partitions.length));
    reads.setText(one.topics.join(", "));
  });
}
