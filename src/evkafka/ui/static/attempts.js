// The attempts that run: of a consumer, a topic or a partition.

import { cell, dotted, each, h, shown, table, text } from "./dom.js";
import { address, count, seconds } from "./format.js";
import { to } from "./router.js";

/** Rows in a <details>, so that a snapshot does not move what is below. */
export function attemptsTable(name) {
  const running = table(`Attempts that ${name} runs`, ["Record", "Event", "Endpoint", ["Attempt", "number"], ["For", "number"]]);
  const details = h("details", {}, h("summary", {}, "In flight"), running);
  return shown(h("div", { class: "body" }, details), (attempts) => {
    text(details.firstElementChild, attempts.length ? `In flight (${attempts.length})` : "No record is in flight");
    each(running.body, attempts, (one) => address(one.topic, one.partition, one.offset), attemptRow);
    running.hidden = !attempts.length;
  });
}

function attemptRow(first) {
  const [number, age] = [0, 1].map(() => cell("td", { class: "number" }));
  const { topic, partition, offset } = first;
  const row = h("tr", {},
    h("th", { scope: "row", class: "nowrap" }, h("a", { href: to("records", { topic, partition, offset }) }, address(topic, partition, offset))),
    h("td", {}, first.event_type ?? "no type"), h("td", { class: "mono whole" }, dotted(first.endpoint)), number, age);
  return shown(row, (one) => {
    number.setText(count(one.attempt));
    age.setText(one.overran ? `${seconds(one.age_s)}, past its limit` : seconds(one.age_s));
  });
}
