// The tables of dead letters: one row for each, or one for each error.

import { cell, each, h, shown, state, table, text } from "./dom.js";
import { address, count, moment, shortName } from "./format.js";
import { to } from "./router.js";

export const labels = { open: ["Open", "warn"], replayed: ["Replayed", "good"], dropped: ["Discarded", ""] };

/** `show(letters, status)` updates it. `focus(place)` gives the focus to a row. */
export function letterTable(all, { chosen, verdicts, isOpen, open, select }) {
  const rows = table("Dead letters", [["Select", "", true], "Failed", "Event type", "Error", "From", "Status"]);
  rows.body.closest("table").querySelector("th").replaceChildren(all);
  rows.classList.add("letter-rows");
  rows.body.addEventListener("keydown", move);
  let shownLetters = [];

  rows.show = (letters, status) => {
    shownLetters = letters;
    rows.classList.toggle("one-status", status !== "all");
    rows.classList.toggle("closed", status === "replayed" || status === "dropped");
    each(rows.body, letters, (one) => `${one.topic} ${one.place}`, row);
  };
  rows.focus = (place) => buttonOf(shownLetters.findIndex((one) => one.place === place))?.focus({ preventScroll: true });
  const buttonOf = (index) => rows.body.children[index]?.querySelector(".open");

  function move(event) {
    const at = [...rows.body.children].indexOf(event.target.closest("tr"));
    const by = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (by) {
      const next = shownLetters[at + by];
      if (next && shownLetters.some(isOpen)) open(next); // an open drawer follows
      buttonOf(at + by)?.focus();
    } else if (event.key === "x") select(shownLetters[at], !chosen.has(shownLetters[at]));
    else return;
    event.preventDefault();
  }

  function row(first) {
    let now = first;
    const box = h("input", { type: "checkbox", "aria-label": `Select ${first.id}`, onchange: () => select(now, box.checked) });
    const label = state();
    const why = cell("div", { class: "small text-bad verdict" });
    const name = shortName(first.error_type) || "Dead letter";
    const button = h("button", { type: "button", class: "open", "aria-label": `Show ${first.id}`, onclick: () => open(now) }, name);
    const whole = h("tr", {}, h("td", {}, box), h("td", { class: "nowrap" }, moment(first.failed_at_ms)), h("td", { class: "type" }, first.event_type ?? "no type"),
      h("td", { class: "brief" }, button, " ", h("span", { class: "quiet" }, first.error_message), why), h("td", { class: "from" }, origin(first)), h("td", {}, label));
    whole.addEventListener("click", (event) => !event.target.closest("a, button, input") && !String(getSelection()) && (open(now), button.focus({ preventScroll: true })));
    return shown(whole, (one) => {
      now = one;
      box.checked = chosen.has(one);
      box.disabled = one.status !== "open";
      whole.className = isOpen(one) ? "opened" : box.checked ? "chosen" : "";
      button.setAttribute("aria-expanded", String(isOpen(one)));
      label.setText(...labels[one.status]);
      why.setText(verdicts.get(one.place) ?? "");
    });
  }
  return rows;
}

export function origin(one) {
  if (one.origin === null) return h("span", { class: "quiet" }, "unknown");
  return h("a", { class: "mono", href: to("records", one.origin) }, address(one.origin.topic, one.origin.partition, one.origin.offset));
}

/** One row for each error: `narrow(group)` shows its dead letters. */
export function groupTable(narrow) {
  const rows = table("Dead letters by error", ["Error", "Event type", ["Dead letters", "number"], "First", "Last"]);
  let total = 0;
  rows.classList.add("group-rows");
  rows.show = (groups, all) => {
    total = all;
    each(rows.body, groups, (one) => `${one.error_type} ${one.error ?? one.message} ${one.event_type}`, row);
  };

  function row(first) {
    let now = first;
    const open = () => now.error !== null && narrow(now);
    const name = first.error_type || "No error: the endpoint's decision";
    const message = cell("div", { class: "small quiet" });
    const number = cell("span");
    const share = h("progress", { max: "1", "aria-hidden": "true" });
    const [since, last] = [0, 1].map(() => cell("td", { class: "nowrap" }));
    const title = first.error === null ? h("span", {}, name) : h("button", { type: "button", class: "open", onclick: open }, name);
    const whole = h("tr", {}, h("th", { scope: "row", class: "long" }, title, message), h("td", {}, first.event_type ?? "no type"), h("td", { class: "number" }, number, share), since, last);
    whole.addEventListener("click", (event) => !event.target.closest("button") && !String(getSelection()) && open());
    return shown(whole, (one) => {
      now = one;
      text(message, one.message);
      number.setText(count(one.dead_letters));
      share.value = total ? one.dead_letters / total : 0;
      since.setText(moment(one.first_ms));
      last.setText(moment(one.last_ms));
    });
  }
  return rows;
}
