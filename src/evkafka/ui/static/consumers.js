// The screen of consumers: each with its partitions, its running attempts, and the actions on a partition.

import { attribute, card, cell, dotted, each, h, shown, state, table, text } from "./dom.js";
import { address, count, seconds, plural } from "./format.js";
import { pause, resume, seek } from "./partition_actions.js";

export function consumers(params) {
  const wanted = params.get("consumer");
  const none = h("p", { class: "card empty" }, "This app has no consumer.");
  const list = h("div", { class: "stack" });
  let first = true;
  return shown(h("div", { class: "stack" }, none, list), (snapshot) => {
    none.hidden = snapshot.consumers.length > 0;
    each(list, snapshot.consumers, (one) => one.name, consumer);
    if (first && wanted) [...list.children].find((one) => one.id === `consumer-${wanted}`)?.scrollIntoView();
    first = false;
  });
}

function consumer(one) {
  const label = state();
  const facts = cell("p", { class: "quiet small" });
  const why = h("ul", { class: "reasons" });
  const partitions = table(`Partitions of ${one.name}`, ["Partition", "State", ["Position", "number"], ["Committed", "number"], ["End", "number"], ["Lag", "number"], ["In hand", "number"], ["Oldest", "number"], ["Change", "number", true]]);
  const idle = h("p", { class: "empty" }, "No partition is assigned to this consumer.");
  const running = table(`What ${one.name} is doing`, ["Record", "Event", "Endpoint", ["Attempt", "number"], ["For", "number"]]);
  const under = h("details", {}, h("summary", {}, "Being handled now"), running);
  const section = card(one.name, { id: `of-${one.name}`, live: true, aside: label },
    h("div", { class: "body" }, facts, why), partitions, idle, h("div", { class: "body" }, under));
  section.id = `consumer-${one.name}`;
  return shown(section, (now) => {
    label.setText(now.state, now.kind);
    facts.setText(describe(now));
    each(why, [...now.reasons, ...now.notes].map((sentence, at) => ({ sentence, at })), (one) => one.at, sentenceLine);
    why.hidden = !now.reasons.length && !now.notes.length;
    idle.hidden = now.partitions.length > 0;
    partitions.hidden = !now.partitions.length;
    each(partitions.body, now.partitions, (p) => address(p.topic, p.partition), (p) => partition(now.name, p));
    text(under.firstElementChild, now.attempts.length ? `Being handled now (${now.attempts.length})` : "Nothing is being handled");
    each(running.body, now.attempts, (a) => address(a.topic, a.partition, a.offset), attempt);
    running.hidden = !now.attempts.length;
  });
}

function sentenceLine() {
  const line = cell("li");
  return shown(line, ({ sentence }) => line.setText(sentence));
}

function describe(now) {
  const group = now.group_id ? `group ${now.group_id}` : "no group";
  return [group, `reads ${now.topics.join(", ")}`, plural(now.partitions.length, "partition"), now.rebuilds ? `made anew ${plural(now.rebuilds, "time")}` : ""].filter(Boolean).join(" · ");
}

function partition(consumerName, first) {
  const where = { consumer: consumerName, topic: first.topic, partition: first.partition };
  const label = state();
  const why = cell("div", { class: "small quiet" });
  const [position, committed, end, lag, pending, oldest] = Array.from({ length: 6 }, () => cell("td", { class: "number" }));
  let now = first;
  const toggle = h("button", { type: "button", class: "tiny", onclick: () => (now.paused ? resume : pause)(where) });
  const move = h("button", { type: "button", class: "tiny", onclick: () => seek(where, now), "aria-label": `Seek ${address(first.topic, first.partition)}` }, "Seek…");
  const row = h("tr", {},
    h("th", { scope: "row", class: "nowrap" }, address(first.topic, first.partition)),
    h("td", { class: "whole" }, label, why), position, committed, end, lag, pending, oldest,
    h("td", {}, h("div", { class: "actions" }, toggle, move)));
  return shown(row, (p) => {
    now = p;
    label.setText(p.state, p.kind);
    why.setText(p.why);
    position.setText(count(p.position));
    committed.setText(count(p.committed));
    end.setText(p.high_watermark > p.end ? `${count(p.end)} of ${count(p.high_watermark)}` : count(p.end));
    lag.setText(count(p.lag));
    pending.setText(count(p.pending));
    oldest.setText(p.oldest_age_s === null ? "–" : `${seconds(p.oldest_age_s)}`);
    attribute(oldest, "title", p.oldest === null ? null : `offset ${p.oldest}`);
    text(toggle, p.paused ? "Resume" : "Pause");
    attribute(toggle, "aria-label", `${p.paused ? "Resume" : "Pause"} ${address(p.topic, p.partition)}`);
  });
}

function attempt(first) {
  const [number, age] = [0, 1].map(() => cell("td", { class: "number" }));
  const row = h("tr", {}, h("th", { scope: "row", class: "nowrap" }, address(first.topic, first.partition, first.offset)),
    h("td", {}, first.event_type ?? "no type"), h("td", { class: "mono whole" }, dotted(first.endpoint)), number, age);
  return shown(row, (a) => {
    number.setText(count(a.attempt));
    age.setText(a.overran ? `${seconds(a.age_s)}, past its limit` : seconds(a.age_s));
  });
}
