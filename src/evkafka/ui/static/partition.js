// The screen of one partition: charts, positions, the record that it waits for, and the ways on from there.

import { attemptsTable } from "./attempts.js";
import { endOf, partitionActions } from "./consumer_card.js";
import { attribute, card, cell, h, state, text } from "./dom.js";
import { emptyState } from "./empty_state.js";
import { address, count, plural, seconds } from "./format.js";
import { breadcrumb, to } from "./router.js";
import { timeCharts } from "./time_charts.js";

export function partitionScreen({ consumer, topic, partition }) {
  const where = { consumer, topic, partition: Number(partition) };
  const name = address(topic, partition);
  const charts = timeCharts(where);
  const none = emptyState();
  const label = state();
  const why = cell("p", { class: "sentence" });
  const actions = partitionActions(where);
  const figures = ["Position", "Committed", "End", "Lag", "Pending", "Done ahead", "Oldest record"].map((term) => [term, cell("dd")]);
  const ways = waysOn(where);
  const running = attemptsTable(name);
  const section = card("Now", { id: "partition", live: true, aside: [label, actions] },
    h("div", { class: "body" }, why, ways), h("dl", { class: "body facts" }, figures.map(([term, value]) => h("div", {}, h("dt", {}, term), value))), running);
  const path = [["Consumers", to("consumers")], [consumer, to("consumers", { consumer })], [topic, to("consumers", { consumer, topic })]];
  const screen = h("div", { class: "stack" }, breadcrumb(path), none, section, charts);

  screen.show = (snapshot) => {
    const now = snapshot.consumers.find((one) => one.name === consumer);
    const found = now?.partitions.find((one) => one.topic === topic && one.partition === where.partition);
    none.hidden = Boolean(found);
    section.hidden = !found;
    if (!found) none.say(`${name} is not assigned to consumer ${consumer} of this process.`, "Another member of the group may read it.");
    charts.show(snapshot);
    if (!found) return;
    label.setText(found.state, found.kind);
    why.setText(found.why);
    why.hidden = !found.why;
    actions.show(found);
    const values = [count(found.position), count(found.committed), endOf(found), count(found.lag), count(found.pending), count(found.done_ahead), seconds(found.oldest_age_s)];
    figures.forEach(([, value], at) => value.setText(values[at]));
    ways.show(found);
    running.show(now.attempts.filter((one) => one.topic === topic && one.partition === where.partition));
  };
  screen.named = name;
  screen.end = () => charts.end();
  return screen;
}

// Links to the record that the partition waits for, to its error, and to the errors of the partition.
function waysOn({ consumer, topic, partition }) {
  const record = h("a", { href: "#" });
  const error = h("a", { href: "#" });
  const errors = h("a", { href: to("errors", { consumer, topic, partition }) }, "Errors of this partition");
  const list = h("p", { class: "actions ways" }, record, error, errors);
  list.show = (now) => {
    const offset = now.oldest ?? (now.lag ? now.position : null);
    record.hidden = offset === null && !now.end;
    text(record, offset === null ? "Newest records" : now.oldest === null ? `Next record, offset ${offset}` : `Oldest pending record, offset ${offset}`);
    attribute(record, "href", to("records", { topic, partition, offset }));
    error.hidden = now.error === null;
    text(error, `Its error, ${plural(now.failed_attempts, "failed attempt")}`);
    attribute(error, "href", to("errors", { error: now.error }));
  };
  return list;
}
