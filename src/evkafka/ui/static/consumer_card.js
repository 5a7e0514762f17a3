// A consumer: its state, its topics and partitions, and the attempts that run.

import { attemptsTable } from "./attempts.js";
import { attribute, card, cell, each, h, shown, state, table } from "./dom.js";
import { address, count, plural, rate, seconds } from "./format.js";
import { pause, resume, seek } from "./partition_actions.js";
import { to } from "./router.js";

const PARTITIONS_SHOWN = 10; // the worst ones are the first; a button shows the others

/** With `topic`, only partitions of that topic are shown. With `link`, the heading leads to the consumer. */
export function consumerCard(one, { topic, link = false } = {}) {
  let most = PARTITIONS_SHOWN;
  let newest = one;
  const label = state();
  const facts = cell("p", { class: "quiet small" });
  const why = h("ul", { class: "reasons" });
  const topics = topicsTable(one.name);
  const partitions = table(`Partitions of ${one.name}`, ["Partition", "State", ["Position", "number"], ["Committed", "number"], ["End", "number"], ["Lag", "number"], ["Pending", "number"], ["Oldest", "number"], ["Actions", "number", true]]);
  const idle = h("p", { class: "empty" }, "No partition is assigned to this consumer.");
  const all = cell("button", { type: "button", class: "tiny", onclick: () => { most = Infinity; section.show(newest); } });
  const more = h("div", { class: "body actions" }, all);
  const running = attemptsTable(one.name);
  const errors = h("a", { href: to("errors", { consumer: one.name, topic }) }, "Errors");
  const heading = link ? h("a", { href: to("consumers", { consumer: one.name }) }, one.name) : "Now";
  const section = card(heading, { id: `of-${one.name}`, live: true, aside: [errors, label] }, h("div", { class: "body" }, facts, why), topics, partitions, more, idle, running);
  section.id = `consumer-${one.name}`;
  return shown(section, (now) => {
    newest = now;
    const listed = now.partitions.filter((p) => topic === undefined || p.topic === topic);
    label.setText(now.state, now.kind);
    facts.setText(describe(now));
    each(why, [...now.reasons, ...now.notes].map((sentence, at) => ({ sentence, at })), (line) => line.at, sentenceLine);
    why.hidden = !now.reasons.length && !now.notes.length;
    topics.hidden = topic !== undefined || !topics.show(now);
    each(partitions.body, listed.slice(0, most), (p) => address(p.topic, p.partition), (p) => partitionRow(now.name, p));
    partitions.hidden = !listed.length;
    idle.hidden = listed.length > 0;
    more.hidden = listed.length <= most;
    all.setText(`Show all ${plural(listed.length, "partition")}`);
    running.show(now.attempts.filter((attempt) => topic === undefined || attempt.topic === topic));
  });
}

function sentenceLine() {
  const line = cell("li");
  return shown(line, ({ sentence }) => line.setText(sentence));
}

function describe(now) {
  const epoch = now.group_protocol === "classic" ? "generation" : "epoch";
  const protocol = now.group_protocol ? ` (${now.group_protocol} protocol, ${epoch} ${now.group_epoch})` : "";
  const group = now.group_id ? `group ${now.group_id}${protocol}` : "no group";
  return [group, now.transactions, `reads ${now.topics.join(", ")}`, plural(now.partitions.length, "partition"), `${rate(now.handled_per_s)} records per second`, now.rebuilds ? `recreated ${plural(now.rebuilds, "time")}` : ""].filter(Boolean).join(" · ");
}

// ------------------------------------------------------------------ topics, if there are several

function topicsTable(consumer) {
  const box = table(`Topics of ${consumer}`, ["Topic", ["Partitions", "number"], ["Lag", "number"], ["Oldest", "number"]]);
  box.show = (now) => {
    const topics = Map.groupBy(now.partitions, (one) => one.topic);
    each(box.body, topics.size > 1 ? [...topics] : [], ([topic]) => topic, ([topic]) => topicRow(consumer, topic));
    return topics.size > 1;
  };
  return box;
}

function topicRow(consumer, topic) {
  const [partitions, lag, oldest] = [0, 1, 2].map(() => cell("td", { class: "number" }));
  const row = h("tr", {}, h("th", { scope: "row" }, h("a", { href: to("consumers", { consumer, topic }) }, topic)), partitions, lag, oldest);
  return shown(row, ([, list]) => {
    const lags = list.map((one) => one.lag).filter((one) => one !== null);
    const ages = list.map((one) => one.oldest_age_s).filter((one) => one !== null);
    partitions.setText(count(list.length));
    lag.setText(lags.length ? count(lags.reduce((sum, one) => sum + one, 0)) : count(null));
    oldest.setText(ages.length ? seconds(Math.max(...ages)) : count(null));
  });
}

// ------------------------------------------------------------------ partitions

function partitionRow(consumer, first) {
  const where = { consumer, topic: first.topic, partition: first.partition };
  const label = state();
  const why = cell("div", { class: "small quiet" });
  const [position, committed, end, lag, pending, oldest] = Array.from({ length: 6 }, () => cell("td", { class: "number" }));
  const actions = partitionActions(where);
  const row = h("tr", {},
    h("th", { scope: "row", class: "nowrap" }, h("a", { href: to("consumers", where) }, address(first.topic, first.partition))),
    h("td", { class: "whole" }, label, why), position, committed, end, lag, pending, oldest, h("td", {}, actions));
  return shown(row, (p) => {
    label.setText(p.state, p.kind);
    why.setText(p.why);
    position.setText(count(p.position));
    committed.setText(count(p.committed));
    end.setText(endOf(p));
    lag.setText(count(p.lag));
    pending.setText(count(p.pending));
    oldest.setText(seconds(p.oldest_age_s));
    attribute(oldest, "title", p.oldest === null ? null : `offset ${p.oldest}`);
    actions.show(p);
  });
}

/** The end of a partition, and the end of everything written if transactions are open. */
export const endOf = (p) => (p.high_watermark > p.end ? `${count(p.end)} of ${count(p.high_watermark)}` : count(p.end));

/** The buttons for a partition. */
export function partitionActions(where) {
  const name = address(where.topic, where.partition);
  let now = null;
  const toggle = cell("button", { type: "button", class: "tiny", onclick: () => (now.paused ? resume : pause)(where) });
  const move = h("button", { type: "button", class: "tiny", onclick: () => seek(where, now), "aria-label": `Seek ${name}` }, "Seek…");
  return shown(h("div", { class: "actions" }, toggle, move), (p) => {
    now = p;
    toggle.setText(p.paused ? "Resume" : "Pause");
    attribute(toggle, "aria-label", `${p.paused ? "Resume" : "Pause"} ${name}`);
  });
}
