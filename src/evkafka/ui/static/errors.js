// The screen of errors, in groups: how often, since when, the last traceback, and the last records.

import { card, cell, each, h, shown, text } from "./dom.js";
import { address, ago, moment, plural } from "./format.js";
import { to } from "./router.js";

export function errors() {
  const list = h("div", { class: "stack" });
  const none = h("p", { class: "card empty" }, "No attempt has failed since this app was started.");
  return shown(h("div", { class: "stack" }, none, list), (snapshot) => {
    each(list, snapshot.errors, (one) => one.id, group);
    none.hidden = snapshot.errors.length > 0;
  });
}

function group(first) {
  const message = cell("p", {});
  const facts = cell("p", { class: "quiet small" });
  const trace = h("pre", { tabindex: "0" });
  const records = h("ul", { class: "addresses" });
  const times = cell("span", { class: "state bad" });
  const section = card(first.type, { id: `error-${first.id}`, aside: times, live: true },
    h("div", { class: "body" }, message, facts, h("details", {}, h("summary", {}, "Traceback"), trace),
      h("div", {}, h("p", { class: "quiet small" }, "Records that it came from, the last ones"), records)));
  return shown(section, (one) => {
    times.setText(plural(one.count, "time"));
    message.setText(one.message);
    facts.setText(`${one.endpoint} · ${one.event_type ?? "no type"} · consumer ${one.consumer} · last ${ago(one.last_ms)}, first ${moment(one.first_ms)}`);
    text(trace, one.traceback);
    each(records, one.records, (record) => address(record.topic, record.partition, record.offset), recordLink);
  });
}

function recordLink(record) {
  const link = h("a", { href: to("records", record), class: "mono" }, address(record.topic, record.partition, record.offset));
  return shown(h("li", {}, link), () => {});
}
