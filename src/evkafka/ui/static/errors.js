// The screen of errors: a row for each group, and a drawer with the traceback and the records of one.

import { card, cell, dotted, each, h, pairs, shown, table, text } from "./dom.js";
import { withDrawer } from "./drawer.js";
import { emptyState, emptyText } from "./empty_state.js";
import { address, ago, count, moment, plural } from "./format.js";
import { go, here, remember, to } from "./router.js";
import { sparkline } from "./sparkline.js";

const FILTERS = ["consumer", "topic", "partition"];

export function errors(params) {
  let filter = filterOf(params);
  let opened = params.get("error");
  let groups = [];
  let drawn = null; // the group in the drawer, and its element
  let content = null;

  const rows = table("Errors", ["Error", "Event type and endpoint", ["Last hour", "", false], ["Errors", "number"], ["Dead letters", "number"], "Last"]);
  rows.classList.add("error-rows");
  rows.body.addEventListener("keydown", move);
  const none = emptyState(...emptyText.loading());
  const chips = h("div", { class: "chips", hidden: true });
  const list = card("Errors since the start of this process", { id: "errors", live: true, aside: chips }, rows, none);
  const both = withDrawer(list, "Error", () => { const last = opened; opened = drawn = null; remember(addressOf(null)); draw(); rows.body.querySelector(`[data-id="${CSS.escape(last ?? "")}"]`)?.focus({ preventScroll: true }); });
  const screen = h("div", { class: "stack" }, both);

  const addressOf = (error) => ({ ...filter, error });

  function draw() {
    const found = groups.filter(matches);
    each(rows.body, found, (one) => one.id, row);
    rows.hidden = !found.length;
    none.hidden = found.length > 0;
    none.say(...(groups.length ? emptyText.noMatch(() => { filter = {}; remember(addressOf(opened)); draw(); }) : emptyText.noErrors()));
    const names = FILTERS.filter((name) => filter[name]);
    chips.hidden = !names.length;
    chips.replaceChildren(...names.map((name) => h("button", { type: "button", class: "tiny", "aria-label": `Remove the filter ${name} ${filter[name]}`, onclick: () => { delete filter[name]; remember(addressOf(opened)); draw(); } }, `${name}: ${filter[name]} ✕`)));
    drawOpened();
  }

  function matches(one) {
    const at = (record) => (!filter.topic || record.topic === filter.topic) && (!filter.partition || String(record.partition) === filter.partition);
    return (!filter.consumer || one.consumer === filter.consumer) && one.records.some(at);
  }

  function drawOpened() {
    const one = groups.find((group) => group.id === opened);
    if (!one) return;
    if (drawn !== one.id) both.open(one.id, one.type, [], (content = details()));
    drawn = one.id;
    content.show(one);
  }

  function show(one) {
    const first = !both.isOpen;
    opened = one.id;
    draw();
    if (here().params.get("error") !== opened) (first ? go : remember)(addressOf(opened));
  }

  function move(event) {
    const at = [...rows.body.children].indexOf(event.target.closest("tr"));
    const next = rows.body.children[at + ({ ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key] ?? NaN)];
    if (!next || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    next.querySelector(".open").focus();
    if (both.isOpen) next.querySelector(".open").click();
  }

  function row(first) {
    let now = first;
    const message = cell("div", { class: "small quiet" });
    const line = sparkline();
    const number = cell("td", { class: "number" });
    const letters = h("a", { hidden: true });
    const last = cell("td", { class: "nowrap" });
    const button = h("button", { type: "button", class: "open", "data-id": first.id, onclick: () => show(now) }, first.type);
    const whole = h("tr", {}, h("th", { scope: "row", class: "brief" }, button, message),
      h("td", { class: "where" }, first.event_type ?? "no type", h("div", { class: "small quiet mono" }, dotted(first.endpoint))), h("td", {}, line), number, h("td", { class: "number" }, letters), last);
    whole.addEventListener("click", (event) => !event.target.closest("a, button") && !String(getSelection()) && (show(now), button.focus({ preventScroll: true })));
    return shown(whole, (one) => {
      now = one;
      message.setText(one.message);
      line.show(one.counts, `${plural(one.counts.reduce((sum, value) => sum + value, 0), "error")} in the last hour`);
      number.setText(count(one.count));
      letters.hidden = !one.dead_lettered;
      text(letters, count(one.dead_lettered));
      letters.setAttribute("aria-label", plural(one.dead_lettered, "dead letter"));
      letters.href = lettersOf(one);
      last.setText(ago(one.last_ms));
      last.title = moment(one.last_ms);
      whole.className = one.id === opened ? "opened" : "";
      button.setAttribute("aria-expanded", String(one.id === opened));
    });
  }

  screen.show = (snapshot) => { groups = snapshot.errors; draw(); };
  screen.navigate = (now) => { filter = filterOf(now); opened = now.get("error"); if (opened) draw(); else both.close(); };
  screen.end = () => both.end();
  return screen;
}

const filterOf = (params) => Object.fromEntries(FILTERS.filter((name) => params.get(name)).map((name) => [name, params.get(name)]));

/** The address of the dead letters with this error. */
const lettersOf = (one) => to("letters", { consumer: one.consumer, source: one.records[0]?.topic, error: one.type, event: one.event_type });

/** The details of a group, updated in place: a person may be reading or selecting the traceback. */
function details() {
  const message = cell("p", { class: "message" });
  const view = h("a", { class: "button tiny main" });
  const no = h("span", { class: "quiet small" }, "None of its records became a dead letter.");
  const [number, first, last, type, endpoint] = Array.from({ length: 5 }, () => cell("span"));
  const consumer = h("a", {});
  const records = h("ul", { class: "addresses" });
  const trace = h("pre", { tabindex: "0" });
  const facts = pairs([["Errors", number], ["First", first], ["Last", last], ["Event type", type], ["Endpoint", endpoint], ["Consumer", consumer]]);
  endpoint.className = "mono";
  return shown(h("div", { class: "stack" }, message, h("div", { class: "actions" }, view, no), facts, h("h3", {}, "Last records"), records, h("h3", {}, "Traceback"), trace), (one) => {
    message.setText(one.message || "The error has no message.");
    view.hidden = !one.dead_lettered;
    no.hidden = one.dead_lettered > 0;
    text(view, `View ${plural(one.dead_lettered, "dead letter")}`);
    view.href = lettersOf(one);
    number.setText(count(one.count));
    first.setText(`${moment(one.first_ms)} (${ago(one.first_ms)})`);
    last.setText(`${moment(one.last_ms)} (${ago(one.last_ms)})`);
    type.setText(one.event_type ?? "none");
    endpoint.setText(one.endpoint);
    text(consumer, one.consumer);
    consumer.href = to("consumers", { consumer: one.consumer });
    each(records, one.records, (record) => address(record.topic, record.partition, record.offset), recordLink);
    text(trace, one.traceback || "none");
  });
}

function recordLink(record) {
  const link = h("a", { href: to("records", record), class: "mono" }, address(record.topic, record.partition, record.offset));
  return shown(h("li", {}, link), () => {});
}
