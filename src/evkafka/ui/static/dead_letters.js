// The screen of dead letters: a list or groups by error, a drawer with one of them, and actions on the selected ones.
// Loaded on request, not by the stream: the app reads the topic for each answer.

import { get } from "./api.js";
import { discard, listCommand, reasonList, replay } from "./dead_letter_actions.js";
import { filterBar } from "./dead_letter_filter.js";
import { letterContent, letterHeading } from "./dead_letter_content.js";
import { groupTable, letterTable } from "./dead_letter_tables.js";
import { selection } from "./dead_letter_selection.js";
import { cell, command, h } from "./dom.js";
import { withDrawer } from "./drawer.js";
import { emptyState, emptyText } from "./empty_state.js";
import { count, plural } from "./format.js";
import { go, here, remember } from "./router.js";

const PAGE = 50;
const SEEN_MORE = 3; // so many snapshots in a row must have more open letters than the list: after an action, counts lag

const nothing = { topics: [], topic: null, letters: [], counts: { open: 0, replayed: 0, dropped: 0 }, open: 0, groups: [], other: 0, within: "", older: 0 };

export function letters(params) {
  const chosen = selection();
  const verdicts = new Map(); // place -> why the last action failed
  let found = nothing;
  let skip = 0;
  let before = ""; // the part of a large topic that the list is before; empty for its newest records
  let requests = 0;
  let opened = params.get("letter"); // the place of the one in the drawer
  let more = 0;

  const bar = filterBar(changed, () => load());
  const all = h("input", { type: "checkbox", "aria-label": "Select all on this page", onchange: () => { for (const one of found.letters) chosen.set(one, all.checked, found.letters); draw(); } });
  const number = cell("span", { class: "small", role: "status" });
  const everything = h("button", { type: "button", class: "tiny", onclick: () => { chosen.selectAll(); draw(); } });
  const clear = h("button", { type: "button", class: "tiny", onclick: () => { chosen.clear(); draw(); } }, "Clear");
  const actions = [h("button", { type: "button", class: "tiny main", onclick: () => act(replay, "replayed") }, "Replay…"), h("button", { type: "button", class: "tiny danger", onclick: () => act(discard, "discarded") }, "Discard…")];
  const selected = h("div", { class: "selection", role: "group", "aria-label": "Selection" }, number, everything, clear, h("span", { class: "spring" }), actions);

  const rows = letterTable(all, { chosen, verdicts, isOpen: (one) => one.place === opened, open: show, select: (one, on) => { chosen.set(one, on, found.letters); draw(); } });
  const groups = groupTable((group) => bar.narrow(group));
  const none = emptyState(...emptyText.loading());
  const note = h("div", { class: "note small", hidden: true });
  const result = h("div", { class: "result", role: "status" });
  const newer = h("button", { type: "button", class: "tiny", hidden: true, onclick: () => load() });
  const at = cell("span", { class: "quiet small" });
  const back = h("button", { type: "button", class: "tiny", onclick: () => load({ from: skip - PAGE }) }, "Newer");
  const forth = h("button", { type: "button", class: "tiny", onclick: () => load({ from: skip + PAGE }) }, "Older");
  const pager = h("nav", { class: "pager", "aria-label": "Pages" }, at, h("span", { class: "spring" }), newer, back, forth);
  const list = h("section", { class: "card letters", "aria-label": "Dead letters" }, selected, rows, groups, none, note, pager);
  const both = withDrawer(list, "Dead letter", () => { const last = opened; opened = null; remember(address()); draw(); rows.focus(last); });
  const screen = h("div", { class: "stack" }, bar, result, both);

  // ------------------------------------------------------------------ loading

  function changed() { // another filter: what was selected may not be in the list any more
    chosen.clear();
    verdicts.clear();
    result.replaceChildren();
    load();
  }

  /**
   * Load the list again: its first page; with `keep` the same page.
   * With `from`, another page of the same list; with `older`, the list of the records before it.
   */
  async function load({ from = null, keep = false, older = false } = {}) {
    const request = ++requests;
    const page = Math.max(0, from ?? (keep ? skip : 0));
    list.classList.add("loading");
    newer.hidden = true;
    more = 0;
    try {
      if (older) before = found.within;
      else if (from === null && !keep) before = "";
      const answer = await get("letters", { ...bar.query(), before, skip: page, limit: bar.view() === "errors" ? 1 : PAGE, within: from === null ? "" : found.within });
      if (request !== requests) return; // a newer request was sent meanwhile
      if (keep && page > 0 && !answer.letters.length) return load({ from: null });
      found = answer;
      skip = page;
      bar.setAnswer(answer);
      sayEmpty();
      if (opened) await showOpened(request);
    } catch (error) {
      if (request !== requests) return;
      found = { ...nothing, topics: found.topics };
      none.say(error.message, h("p", {}, h("button", { type: "button", onclick: () => load() }, "Try again")));
    }
    list.classList.remove("loading");
    remember(address());
    draw();
    if (from !== null) list.scrollIntoView({ block: "start" });
  }

  const address = () => ({ ...bar.address(), letter: opened });

  function sayEmpty() {
    const { q, error, event_type: eventType, status } = bar.query();
    const elsewhere = Object.entries(bar.open()).find(([name, open]) => open && name !== found.topic);
    if (!found.topics.length) none.say(...emptyText.noDeadLetterTopic());
    else if (q || error || eventType) none.say(...emptyText.noMatch(bar.clear));
    else if (status === "open" && elsewhere) none.say(`No open dead letters in ${found.topic}.`, h("p", {}, h("button", { type: "button", onclick: () => bar.setTopic(elsewhere[0]) }, `Show the ${count(elsewhere[1])} in ${elsewhere[0]}`)));
    else if (status === "open") none.say(...emptyText.noDeadLetters(found.topic));
    else none.say(`No such dead letters in ${found.topic}.`);
  }

  // ------------------------------------------------------------------ drawing

  function draw() {
    const status = bar.status();
    const total = status === "all" ? found.counts.open + found.counts.replayed + found.counts.dropped : found.counts[status];
    const isList = bar.view() !== "errors";
    const on = chosen.number(found.counts.open);
    rows.show(isList ? found.letters : [], status);
    groups.show(isList ? [] : found.groups, total);
    rows.hidden = !isList || !found.letters.length;
    groups.hidden = isList || !found.groups.length;
    none.hidden = !rows.hidden || !groups.hidden;
    all.checked = chosen.of(found.letters) === "all";
    all.indeterminate = chosen.of(found.letters) === "some";
    selected.hidden = !isList || !found.counts.open || !["open", "all"].includes(status);
    number.setText(on ? `${count(on)} selected${chosen.all ? ": all that match" : ""}` : "None selected");
    everything.hidden = chosen.all || chosen.of(found.letters) !== "all" || on >= found.counts.open;
    everything.textContent = `Select all ${count(found.counts.open)} that match`;
    clear.hidden = !on;
    for (const button of actions) button.disabled = !on;
    at.setText(isList && found.letters.length ? `${count(skip + 1)} to ${count(skip + found.letters.length)} of ${count(total)}` : !isList && found.other ? `${plural(found.other, "dead letter")} with other errors` : "");
    back.hidden = forth.hidden = !isList || total <= PAGE;
    back.disabled = skip === 0;
    forth.disabled = skip + found.letters.length >= total;
    note.hidden = !found.older && !before;
    if (!note.hidden) drawNote();
    pager.hidden = !at.textContent && newer.hidden;
  }

  /** What of a large topic was searched. */
  function drawNote() {
    const turn = (label, how) => h("button", { type: "button", class: "tiny", onclick: () => { chosen.clear(); load(how); } }, label);
    note.replaceChildren(
      h("p", {}, `This topic is large: its records are searched in parts, the newest first.${found.older ? ` ${plural(found.older, "older record")} ${found.older === 1 ? "is" : "are"} not in this list.` : ""} This command searches the whole topic:`),
      command(listCommand(found.topic, bar.query())),
      h("div", { class: "actions" }, before && turn("Back to the newest", {}), found.older > 0 && turn("Search the older ones", { older: true })));
  }

  function show(one) {
    const first = !both.isOpen;
    opened = one.place;
    const index = found.letters.findIndex((other) => other.place === one.place);
    const step = (by, label, sign) => h("button", { type: "button", class: "tiny", "aria-label": label, title: label, disabled: !found.letters[index + by] || index < 0, onclick: () => show(found.letters[index + by]) }, sign);
    const single = { topic: found.topic, number: 1, all: false, wanted: null, places: [one.place], ids: [one.id] };
    both.open(one.place, letterHeading(one), [step(-1, "Previous", "↑"), step(1, "Next", "↓")],
      letterContent(one, verdicts.get(one.place), { replay: () => act(replay, "replayed", single), discard: () => act(discard, "discarded", single) }));
    if (here().params.get("letter") !== opened) (first ? go : remember)(address());
    draw();
  }

  async function showOpened(request) {
    let one = found.letters.find((other) => other.place === opened);
    if (!one) [one] = (await get("letters", { topic: found.topic, at: opened })).letters;
    if (request !== requests) return;
    if (one) show(one);
    else both.close();
  }

  // ------------------------------------------------------------------ acting

  /** What the action is about: the single one, or the selected ones. */
  function subject() {
    const { q, event_type, error } = bar.query();
    const wanted = { q, event_type, error, within: found.within };
    const number = chosen.number(found.counts.open);
    const places = chosen.places;
    const ids = found.letters.filter((one) => places.includes(one.place)).map((one) => one.id);
    return { topic: found.topic, number, all: chosen.all, wanted: number === found.counts.open ? wanted : null, places, ids };
  }

  async function act(how, done, about = subject()) {
    const answer = await how(about);
    if (answer === null) await load({ keep: true }); // a part may be done
    if (!answer) return; // the selection stays
    verdicts.clear();
    for (const { place, why } of answer.failed) verdicts.set(place, why);
    if (about.number > 1 || chosen.all || chosen.places.includes(about.places[0])) chosen.keep(answer.failed.map((one) => one.place));
    const failed = answer.failed_count;
    const left = failed ? ` ${count(failed)} failed and ${failed === 1 ? "stays" : "stay"} open.` : "";
    result.replaceChildren(h("div", { class: failed ? "notice bad" : "notice good" },
      h("div", {}, h("p", {}, `${count(answer.done)} of ${plural(answer.chosen, "dead letter")} ${done}.${left}`), reasonList(answer)),
      h("span", { class: "spring" }), h("button", { type: "button", class: "tiny", onclick: () => result.replaceChildren() }, "Dismiss")));
    await load({ keep: true });
  }

  screen.show = (snapshot) => {
    const open = snapshot.letters?.topics ?? {};
    bar.setOpen(open);
    const added = snapshot.letters?.counted && found.topic !== null ? (open[found.topic] ?? 0) - found.open : 0;
    more = added > 0 && !list.classList.contains("loading") ? more + 1 : 0;
    newer.hidden = more < SEEN_MORE || found.older > 0 || before !== "";
    newer.textContent = `${plural(added, "new dead letter")}: reload`;
    pager.hidden = !at.textContent && newer.hidden;
  };
  screen.navigate = (now) => { // a link, or the back button
    const before = opened;
    opened = now.get("letter");
    if (bar.take(now)) changed();
    else if (!opened) both.close();
    else if (opened !== before) showOpened(requests);
  };
  screen.end = () => both.end();
  bar.take(params);
  draw();
  load();
  return screen;
}
