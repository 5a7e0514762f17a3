// The screen of events: each type with its endpoint, rates, durations and last error.

import { card, cell, command, dotted, each, h, shown, table } from "./dom.js";
import { emptyState } from "./empty_state.js";
import { ago, count, rate, seconds } from "./format.js";
import { to } from "./router.js";

export function events() {
  const rows = table("Event types and their endpoints", ["Event and endpoint", ["Handled", "number"], ["Per second", "number"], ["Median", "number"], ["p95", "number"], ["p99", "number"], ["Failed", "number"], "Last error"]);
  const none = emptyState("No endpoint is declared: every record is skipped. Declare one:", command('@handler.event("OrderPlaced")'));
  const declared = card("Event types and their endpoints", { id: "declared", live: true }, rows, none);
  const unmatchedRows = table("Records without an endpoint", ["Event type", "Why", "Consumer", ["Records", "number"]]);
  const unmatched = card("Records without an endpoint", { id: "unmatched", live: true }, unmatchedRows);
  return shown(h("div", { class: "stack" }, declared, unmatched), (snapshot) => {
    each(rows.body, snapshot.events, (one) => `${one.consumer} ${one.event_type} ${one.endpoint}`, row);
    none.hidden = snapshot.events.length > 0;
    rows.hidden = !snapshot.events.length;
    each(unmatchedRows.body, snapshot.unmatched, (one) => `${one.consumer} ${one.reason} ${one.event_type}`, unmatchedRow);
    unmatched.hidden = !snapshot.unmatched.length;
  });
}

function row(first) {
  const [handled, speed, p50, p95, p99, failed] = Array.from({ length: 6 }, () => cell("td", { class: "number" }));
  const error = h("a", { href: to("errors", { consumer: first.consumer }) });
  const when = cell("span", { class: "small quiet" });
  const none = h("span", { class: "quiet" }, "none");
  const whole = h("tr", {},
    h("th", { scope: "row" }, first.event_type ?? "all other types", h("div", { class: "small quiet where mono" }, dotted(first.endpoint)), h("div", { class: "small quiet" }, "consumer ", h("a", { href: to("consumers", { consumer: first.consumer }) }, first.consumer))), handled, speed, p50, p95, p99, failed, h("td", { class: "long" }, error, " ", when, none));
  return shown(whole, (one) => {
    handled.setText(count(one.handled));
    speed.setText(rate(one.handled_per_s));
    p50.setText(seconds(one.p50_s));
    p95.setText(seconds(one.p95_s));
    p99.setText(seconds(one.p99_s));
    failed.setText(count(one.failed));
    error.hidden = when.hidden = !one.last_error;
    none.hidden = Boolean(one.last_error);
    if (one.last_error && error.textContent !== one.last_error) error.textContent = one.last_error;
    when.setText(one.last_error ? ago(one.last_error_at_ms) : "");
  });
}

const reasons = { no_type: "no event type", no_endpoint: "no endpoint for this type", tombstone: "a tombstone" };

function unmatchedRow(first) {
  const number = cell("td", { class: "number" });
  return shown(h("tr", {}, h("th", { scope: "row" }, first.event_type ?? "none"), h("td", {}, reasons[first.reason] ?? first.reason), h("td", {}, first.consumer), number), (one) => number.setText(count(one.records)));
}
