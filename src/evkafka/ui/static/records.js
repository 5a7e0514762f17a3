// The screen of records: a page of a topic, or a search in it. Reading records changes no consumer's position.

import { get } from "./api.js";
import { card, cell, command, each, h, shown, table } from "./dom.js";
import { withDrawer } from "./drawer.js";
import { emptyState, emptyText } from "./empty_state.js";
import { address, bytes, count, moment, plural } from "./format.js";
import { facts, headers, payload } from "./record.js";
import { recordForm } from "./record_form.js";
import { go, remember } from "./router.js";
import { sendLine, tailLine } from "./record_commands.js";

const PAGE_SIZE = 50;

export function records(params) {
  const form = recordForm(params, search);
  const rows = table("Records", [["Partition", "number"], ["Offset", "number"], "Time", "Key", "Event", "Payload", ["Size", "number"], ["Details", "number", true]]);
  rows.classList.add("record-rows");
  const none = emptyState(...emptyText.loading());
  const older = h("button", { type: "button", class: "tiny", onclick: () => load(answer.older) }, "Older");
  const newer = h("button", { type: "button", class: "tiny", onclick: () => load(answer.newer) }, "Newer");
  const pages = h("div", { class: "actions" }, older, newer);
  const further = h("button", { type: "button", onclick: () => load(next(), true) }, "Search further");
  const summary = cell("span", { class: "quiet small", role: "status" });
  const foot = h("div", { class: "body" }, h("div", { class: "actions" }, further));
  const list = card("Records", { id: "records", aside: [summary, pages] }, rows, none, foot);
  const both = withDrawer(list, "Record", () => { opened = null; remember(form.params); draw(); });
  both.classList.add("records");
  const line = command("");
  const same = h("div", {}, h("p", { class: "quiet small" }, "The same from the command line:"), line);
  let found = [];
  let searched = 0;
  let answer = null;
  let requests = 0;
  let opened = openedIn(params); // the position of the record whose details are shown

  const next = () => (form.isNewest ? answer?.older : answer?.newer) ?? null;

  async function start() {
    try {
      await form.load();
    } catch (error) {
      return none.say(error.message);
    }
    if (form.topic) return load();
    return none.say(...emptyText.noneDeclared());
  }

  function search() {
    opened = null;
    remember(form.params);
    load();
  }

  /** Ask for the records of the form, or for those at a cursor; `append` adds them to the list. */
  async function load(cursor = null, append = false) {
    const request = ++requests;
    line.setText(tailLine(form, PAGE_SIZE));
    list.setAttribute("aria-busy", "true");
    further.disabled = older.disabled = newer.disabled = true;
    summary.setText(form.isSearch ? "Searching…" : "Loading…");
    try {
      const received = await get("records", { ...form.query, limit: PAGE_SIZE, ...(cursor ? { cursor } : {}) });
      if (request !== requests) return; // a newer request was sent meanwhile
      answer = received;
      const before = append ? found : [];
      found = byTime(form.isNewest ? [...answer.records, ...before] : [...before, ...answer.records]);
      searched = (append ? searched : 0) + sum(answer.partitions, (one) => one.stop - one.begin);
      if (cursor && !form.isSearch && form.params.partition !== "all" && found.length) {
        line.setText(tailLine(form, PAGE_SIZE, Math.min(...found.map((one) => one.offset))));
      }
      none.say(...(await emptyTextOf()));
    } catch (error) {
      if (request !== requests) return;
      [answer, found] = [null, []];
      none.say(error.message);
    }
    list.removeAttribute("aria-busy");
    draw();
  }

  async function emptyTextOf() {
    const size = sum(answer.partitions, (one) => one.end - one.first);
    if (!size) return emptyText.noRecords(form.topic, await sendLine(form.topic));
    if (form.isSearch) return [`No match in ${plural(searched, "searched offset")}.`, h("p", {}, h("button", { type: "button", onclick: form.clear }, "Clear the search"))];
    return [`No record there: ${extent(answer.partitions, form.topic)}.`];
  }

  function draw() {
    each(rows.body, form.isNewest ? found.toReversed() : found, positionOf, (one) => row(one, form.params.q, { open, isOpen: () => positionOf(one) === opened }));
    const shownRecord = found.find((one) => positionOf(one) === opened);
    if (shownRecord) both.open(opened, address(shownRecord.topic, shownRecord.partition, shownRecord.offset), [], details(shownRecord));
    else if (both.isOpen) both.close();
    rows.hidden = !found.length;
    none.hidden = found.length > 0;
    pages.hidden = form.isSearch || !answer || !(answer.older || answer.newer);
    older.disabled = !answer?.older;
    newer.disabled = !answer?.newer;
    further.disabled = !next();
    foot.hidden = !form.isSearch || !next();
    summary.setText(answer ? summaryText() : "");
  }

  function summaryText() {
    const matches = plural(found.length, form.isSearch ? "match" : "record", form.isSearch ? "matches" : "records");
    if (!form.isSearch) return `${matches} · ${extent(answer.partitions, form.topic)}`;
    const reach = next() ? (answer.reached_ms === null ? "" : `, ${form.isNewest ? "back to" : "up to"} ${moment(answer.reached_ms)}`) : form.isNewest ? ", all of them" : ", up to the end";
    return `${matches} in ${plural(searched, "searched offset")}${reach}`;
  }

  function open(one) {
    if (opened === positionOf(one)) both.close();
    else go({ ...form.params, record: positionOf(one) });
  }

  const screen = h("div", { class: "stack" }, form.element, both, same);
  screen.end = both.end;
  screen.navigate = (changed) => {
    const isSame = form.isSame(changed);
    opened = openedIn(changed);
    if (isSame) return draw();
    form.fill(changed);
    return load();
  };
  start();
  return screen;
}

const sum = (items, value) => items.reduce((total, item) => total + value(item), 0);
const positionOf = (one) => `${one.partition}@${one.offset}`;

/** Records by time. One without a time, such as one that cannot be read, stays behind the one before it. */
function byTime(all) {
  let timeMs = 0;
  const timed = all.map((one) => ({ one, timeMs: (timeMs = one.timestamp_ms < 0 ? timeMs : one.timestamp_ms) }));
  return timed.sort((first, second) => first.timeMs - second.timeMs).map(({ one }) => one);
}

/** A link to an offset of one partition opens that record. */
function openedIn(params) {
  const linked = params.get("offset") && Number.isInteger(Number.parseInt(params.get("partition"), 10));
  return params.get("record") ?? (linked ? `${params.get("partition")}@${params.get("offset")}` : null);
}

function extent(partitions, topic) {
  if (partitions.length !== 1) return `${plural(partitions.length, "partition")}, ${plural(sum(partitions, (one) => one.end - one.first), "offset")}`;
  const [{ partition, first, end }] = partitions;
  return end > first ? `${address(topic, partition)} has offsets ${count(first)} to ${count(end - 1)}` : `${address(topic, partition)} is empty`;
}

/** The beginning of a payload on one line; in a search, the part around the match. */
function brief(value, words) {
  if (!value) return "tombstone";
  const line = value.text.replaceAll(/\s+/g, " ");
  const at = words ? line.toLowerCase().indexOf(words.toLowerCase()) : -1;
  return at > 60 ? `…${line.slice(at - 30, at + 130)}` : line.slice(0, 160);
}

function row(one, words, { open, isOpen }) {
  const button = h("button", { type: "button", class: "tiny", onclick: () => open(one), "aria-label": `Details of ${positionOf(one)}` }, "Show");
  const whole = h("tr", {},
    h("td", { class: "number" }, one.partition), h("th", { scope: "row", class: "number" }, one.offset), h("td", { class: "nowrap" }, moment(one.timestamp_ms)),
    h("td", { class: "mono key-cell" }, one.key ? one.key.text.slice(0, 120) : "–"), h("td", {}, one.event_type ?? "–"),
    h("td", { class: "long mono brief" }, brief(one.value, words)), h("td", { class: "number" }, bytes(one.value?.size ?? 0)),
    h("td", { class: "number" }, button));
  return shown(whole, () => {
    button.setAttribute("aria-expanded", String(isOpen()));
    whole.className = isOpen() ? "opened" : "";
  });
}

function details(one) {
  return [facts(one), h("h3", {}, "Payload"), payload(one.value), h("details", { open: one.headers.length > 0 }, h("summary", {}, `Headers (${one.headers.length})`), headers(one.headers))];
}
