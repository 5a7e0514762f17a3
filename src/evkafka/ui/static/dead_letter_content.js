// One dead letter in the drawer: the error first, then what can be done, the payload, and the rest.

import { appOption, quoted } from "./command_line.js";
import { labels, origin } from "./dead_letter_tables.js";
import { command, h, pairs, state } from "./dom.js";
import { address, ago, bytes, count, moment, shortName } from "./format.js";
import { headers, keyText, payload } from "./record.js";
import { to } from "./router.js";

const unfolded = { Traceback: true, Headers: false }; // the same for the next dead letter

export const letterHeading = (one) => shortName(one.error_type) || "Dead letter";

export function letterContent(one, verdict, { replay, discard }) {
  return [
    h("p", { class: "message" }, one.error_message || "The error has no message."),
    verdict && h("p", { class: "notice bad" }, h("span", {}, h("strong", {}, "Not replayed: "), verdict)),
    h("div", { class: "actions" }, state(...labels[one.status]), h("span", { class: "spring" }),
      one.status === "open" && [h("button", { type: "button", class: "tiny main", onclick: replay }, "Replay…"), h("button", { type: "button", class: "tiny danger", onclick: discard }, "Discard…")]),
    facts(one),
    h("h3", {}, "Payload"), payload(one.value),
    fold("Traceback", h("pre", { tabindex: "0" }, one.traceback || "none")),
    fold("Headers", headers(one.headers), ` (${one.headers.length})`),
    h("p", { class: "quiet small" }, "In full on the command line:"),
    command(`evkafka dlq show ${quoted(one.topic)} ${appOption()} --at ${one.place}`),
  ];
}

function facts(one) {
  const at = { topic: one.topic, partition: one.partition, offset: one.offset };
  return pairs([
    ["Failed", `${moment(one.failed_at_ms)} (${ago(one.failed_at_ms)})`],
    ["Error class", h("code", {}, one.error_type || "none")],
    ["Event type", one.event_type ?? "none"],
    ["Attempts", one.attempts === null ? "unknown" : count(one.attempts)],
    ...(one.replays ? [["Replayed before", `${count(one.replays)} times`]] : []),
    ["Record", origin(one)],
    ["Dead letter", h("a", { class: "mono", href: to("records", at) }, address(at.topic, at.partition, at.offset))],
    ["Key", keyText(one.key)],
    ["Written", moment(one.timestamp_ms)],
    ["Size", bytes(one.value?.size ?? 0)],
    ["Id", h("code", {}, one.id)],
  ]);
}

function fold(name, content, more = "") {
  return h("details", { open: unfolded[name], ontoggle: (event) => (unfolded[name] = event.target.open) }, h("summary", {}, name + more), content);
}
