// Shows one record as text, never as HTML. The app has already masked secret fields.

import { h, pairs } from "./dom.js";
import { bytes, moment } from "./format.js";

/** A payload as text, with notes about what was converted, cut or masked. */
export function payload(value) {
  if (value === null || value === undefined) return h("p", { class: "quiet" }, "No value: a tombstone.");
  const notes = [
    value.kind === "hex" ? "not text: shown as hexadecimal" : null,
    value.cut ? `cut: the payload has ${bytes(value.size)}` : null,
    value.masked ? "secret fields are masked" : null,
  ].filter(Boolean);
  return h("div", { class: "payload" }, notes.length > 0 && h("p", { class: "small quiet" }, notes.join(" · ")), h("pre", { tabindex: "0" }, value.text));
}

export function keyText(key) {
  return key === null || key === undefined ? h("span", { class: "quiet" }, "none") : h("code", {}, key.text);
}

export function headers(list) {
  if (!list.length) return h("p", { class: "quiet" }, "No headers.");
  return h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Headers" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Header"), h("th", { scope: "col" }, "Value"))),
    h("tbody", {}, list.map(([name, value]) => h("tr", {}, h("th", { scope: "row", class: "mono nowrap" }, name), h("td", { class: "long mono" }, value ?? "null"))))));
}

export function facts(record) {
  return pairs([
    ["Time", moment(record.timestamp_ms)],
    ["Key", keyText(record.key)],
    ["Size", bytes(record.value?.size ?? 0)],
    ...(record.event_type ? [["Event", record.event_type]] : []),
  ]);
}
