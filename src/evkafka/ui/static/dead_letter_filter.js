// The filter of dead letters: topic, status, a text, and the error and event type of a group.

import { cell, each, h, shown } from "./dom.js";
import { count } from "./format.js";

const STATUSES = [["open", "Open"], ["replayed", "Replayed"], ["dropped", "Discarded"], ["all", "All"]];
const VIEWS = [["", "List"], ["errors", "By error"]];

/** `changed()` is called when the filter selects something else; `redraw()` when only the view changes. */
export function filterBar(changed, redraw) {
  const chosen = { status: "open", view: "", error: "", event: "" };
  let asked = {}; // what selects the topic, until an answer has the topics
  let open = {};

  const topic = h("select", { name: "topic", onchange: () => { asked = {}; changed(); } });
  const text = h("input", { type: "search", name: "q", placeholder: "error, event type or id", maxlength: "200" });
  const search = h("form", { class: "fields", role: "search", "aria-label": "Dead letters", onsubmit: (event) => { event.preventDefault(); changed(); } },
    h("label", {}, "Dead-letter topic", topic), h("label", { class: "grow" }, "Containing", text), h("button", { type: "submit" }, "Search"));
  text.addEventListener("search", () => text.value === "" && changed()); // the cross in the field

  const statuses = buttons("Status", STATUSES, (status) => { chosen.status = status; changed(); });
  const views = buttons("View", VIEWS, (view) => { chosen.view = view; redraw(); draw(); });
  const chips = h("div", { class: "chips" });
  const bar = h("div", { class: "card body filters" }, search, h("div", { class: "rows" }, statuses, h("span", { class: "spring" }), views), chips);

  function draw() {
    statuses.show(chosen.status);
    views.show(chosen.view);
    const active = [["error", "Error"], ["event", "Event type"]].filter(([name]) => chosen[name]);
    each(chips, active.map(([name, label]) => ({ name, label, value: chosen[name] })), (one) => one.name, chip);
    chips.hidden = !active.length;
  }

  function chip() {
    const label = cell("span");
    const button = h("button", { type: "button", class: "tiny" }, label, h("span", { "aria-hidden": "true" }, "✕"));
    let name = "";
    button.addEventListener("click", () => { chosen[name] = ""; draw(); changed(); });
    return shown(button, (one) => {
      name = one.name;
      label.setText(`${one.label}: ${one.value}`);
      button.setAttribute("aria-label", `Remove the filter ${one.label}: ${one.value}`);
    });
  }

  function showTopics(names) {
    each(topic, names, (name) => name, () => {
      const entry = h("option", {});
      return shown(entry, (name) => { entry.value = name; entry.textContent = open[name] ? `${name} (${count(open[name])} open)` : name; });
    });
  }

  const topicNow = () => (asked.topic || asked.consumer ? asked : { topic: topic.value });
  bar.status = () => chosen.status;
  bar.view = () => chosen.view;
  /** The parameters of a request. */
  bar.query = () => ({ ...topicNow(), status: chosen.status, q: text.value.trim(), event_type: chosen.event, error: chosen.error });
  /** The parameters of the address. */
  bar.address = () => ({ ...topicNow(), status: chosen.status === "open" ? "" : chosen.status, q: text.value.trim(), event: chosen.event, error: chosen.error, view: chosen.view });
  /** Take the parameters of an address. Returns whether they select something else. */
  bar.take = (params) => {
    const before = JSON.stringify(bar.address());
    asked = Object.fromEntries(["topic", "consumer", "source"].map((name) => [name, params.get(name) ?? ""]));
    for (const name of ["error", "event", "view"]) chosen[name] = params.get(name) ?? "";
    chosen.status = STATUSES.some(([status]) => status === params.get("status")) ? params.get("status") : "open";
    text.value = params.get("q") ?? "";
    if (asked.topic && asked.topic === topic.value) asked = {};
    draw();
    return JSON.stringify(bar.address()) !== before;
  };
  bar.open = () => open;
  bar.setOpen = (numbers) => { open = numbers; showTopics([...topic.options].map((entry) => entry.value)); };
  bar.setAnswer = (answer) => {
    showTopics(answer.topics);
    topic.value = answer.topic ?? "";
    asked = {};
    const { open: isOpen, replayed, dropped } = answer.counts;
    statuses.number({ open: isOpen, replayed, dropped, all: isOpen + replayed + dropped });
    draw();
  };
  bar.setTopic = (name) => { asked = {}; topic.value = name; changed(); };
  bar.narrow = (group) => { Object.assign(chosen, { error: group.error, event: group.event_type ?? "", view: "" }); draw(); changed(); };
  bar.clear = () => { Object.assign(chosen, { error: "", event: "" }); text.value = ""; draw(); changed(); };
  draw();
  return bar;
}

/** A row of buttons of which one is pressed. */
function buttons(label, choices, choose) {
  const entries = choices.map(([value, name]) => {
    const number = cell("span", { class: "number quiet" });
    return { value, number, button: h("button", { type: "button", onclick: () => choose(value) }, name, number) };
  });
  const group = h("div", { class: "switch", role: "group", "aria-label": label }, entries.map((one) => one.button));
  group.show = (value) => entries.forEach((one) => one.button.setAttribute("aria-pressed", String(one.value === value)));
  group.number = (numbers) => entries.forEach((one) => one.number.setText(count(numbers[one.value])));
  return group;
}
