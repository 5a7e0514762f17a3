// The overview: problems with the first thing to do, current figures, charts, all consumers, and the process.

import { card, cell, each, h, shown, state, table } from "./dom.js";
import { address, bytes, count, rate, seconds, short } from "./format.js";
import { emptyState, emptyText } from "./empty_state.js";
import { problems } from "./problems.js";
import { to } from "./router.js";
import { timeCharts } from "./time_charts.js";

const LATE_S = 60;

export function overview() {
  const wrong = problems();
  const tiles = figures();
  const charts = timeCharts();
  const list = consumers();
  const process = processFacts();
  const screen = h("div", { class: "stack" }, wrong, tiles, charts, list, process);
  screen.show = (snapshot) => {
    wrong.show(snapshot.problems);
    tiles.show({ ...snapshot.now, ...snapshot.letters });
    charts.show(snapshot);
    list.show(snapshot);
    process.show(snapshot.process);
  };
  screen.end = () => charts.end();
  return screen;
}

function tile(name, screen, valuesOf) {
  const figure = cell("span", { class: "figure" });
  const note = cell("div", { class: "note" });
  const box = h("div", { class: "card tile" }, h("dt", {}, screen ? h("a", { href: to(screen) }, name) : name), h("dd", {}, figure, note));
  return shown(box, (now) => {
    const [value, under = "", kind = ""] = valuesOf(now);
    figure.setText(value);
    note.setText(under);
    box.className = kind ? `card tile ${kind}` : "card tile";
  });
}

function figures() {
  const tiles = [
    tile("Handled per second", "events", (now) => [rate(now.handled_per_s), `${short(now.handled)} in total`]),
    tile("Failed per second", "errors", (now) => [rate(now.failed_per_s), `${short(now.failed)} in total`, now.failed_per_s > 0 ? "bad" : ""]),
    tile("Lag", "consumers", (now) => [short(now.lag), now.lag_s > 0 ? `oldest: ${seconds(now.lag_s)}` : "up to date", now.lag_s > LATE_S ? "warn" : ""]),
    tile("p95 of an attempt", "events", (now) => [seconds(now.p95_s), `median ${seconds(now.p50_s)}`]),
    tile("In flight", "consumers", (now) => [count(now.in_flight), now.in_flight ? `oldest: ${seconds(now.oldest_s)}` : "no attempt runs"]),
    tile("Dead letters", "letters", (now) => [count(now.counted || now.open ? now.open : null), `open; ${count(now.dead_lettered)} since the start`, now.open ? "warn" : ""]),
  ];
  return shown(h("dl", { class: "tiles live", "aria-label": "Now" }, tiles), (now) => tiles.forEach((one) => one.show(now)));
}

function consumers() {
  const rows = table("Consumers", ["Consumer", "State", ["Lag", "number"], ["Oldest", "number"], ["Per second", "number"], ["Partitions", "number"], "Topics"]);
  const none = emptyState();
  const section = card("Consumers", { id: "consumers", live: true }, rows, none);
  return shown(section, (snapshot) => {
    const list = snapshot.consumers;
    each(rows.body, list, (one) => one.name, row);
    rows.hidden = !list.length;
    none.hidden = list.length > 0;
    if (!list.length) none.say(...emptyText.noConsumers(snapshot));
  });
}

function row(first) {
  const label = state();
  const why = cell("div", { class: "small quiet" });
  const [lag, oldest, speed, partitions] = [0, 1, 2, 3].map(() => cell("td", { class: "number" }));
  const topics = cell("td", { class: "long" });
  const link = h("a", { href: to("consumers", { consumer: first.name }) }, first.name);
  return shown(h("tr", {}, h("th", { scope: "row" }, link), h("td", { class: "long" }, label, why), lag, oldest, speed, partitions, topics), (one) => {
    label.setText(one.state, one.kind);
    why.setText(reasonOf(one));
    lag.setText(count(one.lag));
    oldest.setText(seconds(one.lag_s));
    speed.setText(rate(one.handled_per_s));
    partitions.setText(count(one.partitions.length));
    topics.setText(one.topics.join(", "));
  });
}

// The partitions of a snapshot are the worst first.
function reasonOf(one) {
  const worst = one.partitions.find((partition) => partition.kind === "bad" || partition.kind === "warn");
  return one.reasons[0] ?? (worst ? `${address(worst.topic, worst.partition)}: ${worst.why}` : one.notes[0] ?? "");
}

function processFacts() {
  const facts = ["CPU", "Memory", "Uptime", "Version", "EVKafka", "Python", "Process ID"].map((name) => [name, cell("dd")]);
  const section = card("Process", { id: "process", live: true }, h("dl", { class: "body facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), value))));
  return shown(section, (now) => {
    const values = [now.cpu_percent === null ? "measuring…" : `${rate(now.cpu_percent)} % of a core`, bytes(now.memory_bytes), seconds(now.uptime_s), now.app_version, now.evkafka_version, now.python_version, now.pid];
    facts.forEach(([, value], at) => value.setText(values[at]));
  });
}
