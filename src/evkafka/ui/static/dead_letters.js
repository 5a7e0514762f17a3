// The screen of dead letters: search, details, and the actions on them. Loaded on request, not by the stream.

import { get } from "./api.js";
import { notify } from "./dialog.js";
import { card, cell, each, focused, h, shown, table, text } from "./dom.js";
import { address, shortName, count, moment, plural } from "./format.js";
import { drop, replay } from "./dead_letter_actions.js";
import { facts, headers, payload } from "./record.js";
import { remember, to } from "./router.js";

const MOST = 200; // the app lists at most this many

export function letters(params) {
  const chosen = new Set();
  let found = [];
  let requests = 0;
  let opened = null; // the place of the dead letter whose details are shown, as long as it is in the list

  const topic = h("select", { name: "topic", onchange: load });
  const text_ = h("input", { type: "search", name: "q", value: params.get("q") ?? "", placeholder: "error, event type, id…" });
  const closed = h("input", { type: "checkbox", name: "closed", onchange: load });
  closed.checked = params.get("closed") === "1";
  const search = h("form", { class: "card body fields", role: "search", "aria-label": "Dead letters", onsubmit: (event) => { event.preventDefault(); load(); } },
    h("label", {}, "Dead-letter topic", topic), h("label", { class: "grow" }, "Containing", text_),
    h("label", { class: "beside" }, closed, "Also replayed and dropped ones"), h("button", { type: "submit" }, "Look"));

  const all = h("input", { type: "checkbox", "aria-label": "Choose all", onchange: () => { for (const one of found) choose(one, all.checked); drawAll(); } });
  const number = cell("span", { class: "quiet small" });
  const act = (label, kind, how) => h("button", { type: "button", class: kind, disabled: true, onclick: () => how(topic.value, [...chosen], found).then((done) => done && load()) }, label);
  const actions = [act("Dry run", "tiny", (...given) => replay(...given, true)), act("Replay…", "tiny main", (...given) => replay(...given, false)), act("Drop…", "tiny danger", drop)];
  const rows = table("Dead letters", [["Chosen", "", true], "Failed", "Event", "Error", "Came from", "State", ["Details", "number", true]]);
  rows.body.closest("table").querySelector("th").replaceChildren(all);
  const none = h("p", { class: "empty", role: "status" }, "Looking…");
  const list = card("Dead letters", { id: "letters", aside: [number, h("div", { class: "actions" }, actions)] }, rows, none);
  const place = h("div", {});
  const screen = h("div", { class: "stack" }, search, list, place);

  function choose(one, on) {
    if (on && one.status === "open") chosen.add(placeOf(one));
    else chosen.delete(placeOf(one));
  }

  function drawAll() {
    each(rows.body, found, placeOf, (one) => letterRow(one, { chosen, choose, redraw: drawAll, open: () => { opened = placeOf(one); place.replaceChildren(letterCard(one)); } }));
    const possible = found.filter((one) => one.status === "open").length;
    all.checked = chosen.size > 0 && chosen.size === possible;
    all.indeterminate = chosen.size > 0 && chosen.size < possible;
    for (const button of actions) button.disabled = chosen.size === 0;
    number.setText(chosen.size ? `${chosen.size} chosen` : found.length >= MOST ? `the newest ${found.length} letters` : plural(found.length, "letter"));
    rows.hidden = !found.length;
    none.hidden = found.length > 0;
  }

  async function load() {
    const request = ++requests;
    remember({ topic: topic.value, q: text_.value.trim(), closed: closed.checked ? 1 : "" });
    try {
      const answer = await get("letters", { topic: topic.value || params.get("topic"), q: text_.value.trim(), closed: closed.checked ? 1 : "" });
      if (request !== requests) return; // a newer request was sent meanwhile
      showTopics(answer);
      found = answer.letters;
      for (const place of chosen) if (!found.some((one) => placeOf(one) === place && one.status === "open")) chosen.delete(place);
      text(none, answer.topics.length ? "No dead letter is open here." : "No consumer of this app writes dead letters: on_error has no then: \"dead_letter\".");
      if (!found.some((one) => placeOf(one) === opened)) place.replaceChildren();
    } catch (error) {
      found = [];
      text(none, error.message);
      notify(error.message, "bad");
    }
    drawAll();
  }

  function showTopics(answer) {
    each(topic, answer.topics, (name) => name, (name) => shown(h("option", { value: name }, name), () => {}));
    topic.value = answer.topic ?? "";
  }

  load();
  return screen;
}

/** The position in the dead-letter topic. It identifies a dead letter in actions; several may have the same id. */
const placeOf = (one) => `${one.partition}@${one.offset}`;

const kinds = { open: "warn", replayed: "good", dropped: "" };

function letterRow(first, { chosen, choose, redraw, open }) {
  const box = h("input", { type: "checkbox", "aria-label": `Choose ${first.id}`, onchange: () => { choose(first, box.checked); redraw(); } });
  const label = h("span", { class: "state" });
  const row = h("tr", {}, h("td", {}, box), h("td", { class: "nowrap" }, moment(first.failed_at_ms)), h("td", {}, first.event_type ?? "no type"),
    h("td", { class: "long" }, h("span", { class: "text-bad", title: first.error_type }, shortName(first.error_type)), h("div", { class: "small quiet" }, first.error_message)),
    h("td", {}, origin(first)), h("td", {}, label),
    h("td", { class: "number" }, h("button", { type: "button", class: "tiny", onclick: open, "aria-label": `Show ${first.id}` }, "Show")));
  return shown(row, (one) => {
    box.checked = chosen.has(placeOf(one));
    box.disabled = one.status !== "open";
    row.className = box.checked ? "chosen" : "";
    text(label, one.status);
    label.className = `state ${kinds[one.status]}`;
  });
}

function origin(one) {
  if (one.origin === null) return "not told";
  return h("a", { class: "mono", href: to("records", one.origin) }, address(one.origin.topic, one.origin.partition, one.origin.offset));
}

function letterCard(one) {
  const section = card(`Dead letter ${one.id}`, { id: "letter" },
    h("div", { class: "body" }, facts(one),
      h("p", {}, h("strong", { class: "text-bad" }, one.error_type), ` ${one.error_message}`, h("span", { class: "quiet" }, ` after ${plural(one.attempts ?? 1, "attempt")}${one.replays ? `, replayed ${count(one.replays)} times before` : ""}`)),
      h("h3", {}, "Payload"), payload(one.value),
      h("details", {}, h("summary", {}, "Traceback"), h("pre", { tabindex: "0" }, one.traceback || "not told")),
      h("details", {}, h("summary", {}, `Headers (${one.headers.length})`), headers(one.headers))));
  return focused(section);
}
