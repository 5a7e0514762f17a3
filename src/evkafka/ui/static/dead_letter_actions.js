// Actions on dead letters: replay, with a dry run first, and discard. Each shows the command that does the same.
//
// `chosen` is { topic, number, all, wanted, places, ids }. With `all`, the action takes all that match the filter
// `wanted`; otherwise these places. `wanted` is null if they are not all that match.

import { post } from "./api.js";
import { appOption, option, quoted } from "./command_line.js";
import { open } from "./dialog.js";
import { command, h, text } from "./dom.js";
import { count, plural } from "./format.js";

const NAMED_MAX = 50; // the log has the ids of so many; of more it has the places only
const REASONS_SHOWN = 3;

const filterOptions = (wanted) => [...option("--event-type", wanted.event_type), ...option("--error", wanted.error), ...option("--containing", wanted.q)];

/** The options of `evkafka dlq` that select the same dead letters. */
const options = (chosen) => (chosen.wanted ? filterOptions(chosen.wanted) : ranges(chosen.places).map((range) => `--at ${range}`));

/** Places as few ranges: 0@3, 0@4 and 0@5 are 0@3-5. */
function ranges(places) {
  const sorted = places.map((place) => place.split("@").map(Number)).sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const found = [];
  for (const [partition, offset] of sorted) {
    const range = found.at(-1);
    if (range?.partition === partition && range.last === offset - 1) range.last = offset;
    else found.push({ partition, first: offset, last: offset });
  }
  return found.map(({ partition, first, last }) => `${partition}@${first}${last > first ? `-${last}` : ""}`);
}

/** The command that lists the dead letters of a query. */
export const listCommand = (topic, query) => ["evkafka dlq list", quoted(topic), appOption(), ...(query.status === "open" ? [] : ["--all"]), ...filterOptions(query)].join(" ");

function commandLine(what, chosen, ...more) {
  return ["evkafka dlq", what, quoted(chosen.topic), appOption(), ...options(chosen), ...more].join(" ");
}

function order(chosen, more) {
  const which = chosen.all ? { filter: chosen.wanted } : { places: chosen.places, ...(chosen.ids.length <= NAMED_MAX ? { ids: chosen.ids } : {}) };
  return { topic: chosen.topic, ...which, ...more };
}

/** The failures of a result by their reason, the most frequent first: [reason, number]. */
function reasons(result) {
  const found = new Map();
  for (const { why } of result.failed) found.set(why, (found.get(why) ?? 0) + 1);
  return [...found].sort((one, other) => other[1] - one[1]);
}

/** The reasons of what failed, as a list. */
export function reasonList(result) {
  if (!result.failed.length) return null;
  const all = reasons(result);
  const rest = all.length - REASONS_SHOWN;
  return h("ul", { class: "why small" }, all.slice(0, REASONS_SHOWN).map(([why, number]) => h("li", {}, number > 1 ? `${count(number)} times: ` : "", why)), rest > 0 && h("li", {}, `and ${plural(rest, "more reason")}`));
}

function dryRunResult(result, to) {
  const good = result.chosen - result.failed_count;
  const verb = to === "handler" ? "reach an endpoint" : "be sent";
  return h("div", { class: result.failed_count ? "notice warn" : "notice good", role: "status" },
    h("div", {}, h("p", {}, `Dry run: ${count(good)} of ${plural(result.chosen, "dead letter")} would ${verb}. Nothing was done.`), reasonList(result)));
}

/** Ask how to replay, and do it. Resolves to the result; to null if it failed, and to undefined if it was cancelled. */
export function replay(chosen) {
  const way = (value, label, note, checked) => h("label", { class: "way" }, h("input", { type: "radio", name: "way", value, checked }), h("span", {}, label, h("span", { class: "small quiet" }, note)));
  const ways = h("fieldset", {}, h("legend", { class: "quiet small" }, "Where to"),
    way("handler", "This app's endpoint", "One attempt each, in this process. No other consumer group sees the records.", true),
    way("topic", "The topic that each came from", "Every consumer group of that topic gets them again.", false));
  const to = () => ways.querySelector("input:checked").value;
  const outcome = h("div", {});
  const run = (dry) => post("letters/replay", order(chosen, { to: to(), dry_run: dry }));
  const result = ask({
    title: `Replay ${plural(chosen.number, "dead letter")}?`,
    sentence: "Dead letters that succeed are marked as replayed; those that fail stay open.",
    content: [ways, outcome],
    line: () => commandLine("replay", chosen, to() === "handler" ? "--to-handler" : "--to-topic"),
    verb: "Replay",
    busy: `Replaying ${plural(chosen.number, "dead letter")}…`,
    act: () => run(false),
    second: { verb: "Dry run", act: async () => { const way = to(); outcome.replaceChildren(dryRunResult(await run(true), way)); outcome.scrollIntoView({ block: "nearest" }); } },
  });
  ways.addEventListener("change", () => outcome.replaceChildren());
  return result;
}

/** Ask whether to discard, and do it. Resolves as `replay`. */
export function discard(chosen) {
  const why = h("input", { type: "text", maxlength: "200", placeholder: "written to the audit log" });
  return ask({
    title: `Discard ${plural(chosen.number, "dead letter")}?`,
    sentence: "They are marked as discarded, and are no longer listed or replayed. The records stay in the topic until its retention ends.",
    content: [h("label", {}, "Reason", why)],
    line: () => commandLine("drop", chosen, ...(options(chosen).length ? [] : ["--all"])),
    verb: "Discard",
    danger: true,
    busy: `Discarding ${plural(chosen.number, "dead letter")}…`,
    act: () => post("letters/drop", order(chosen, { reason: why.value.trim() })),
  });
}

/** A dialog whose buttons stay in view, however long its content is. */
function ask({ title, sentence, content, line, verb, busy, danger = false, act, second }) {
  return new Promise((resolve) => {
    let result; // undefined if nothing was tried
    const shownLine = command(line());
    const wrong = h("p", { class: "notice bad", role: "alert", hidden: true });
    const doing = h("span", { class: "quiet small", role: "status" });
    const go = h("button", { type: "submit", class: danger ? "danger" : "main" }, verb);
    const other = second && h("button", { type: "button", onclick: () => attempt(second.act, "Checking…") }, second.verb);
    const no = h("button", { type: "button", onclick: () => box.close() }, "Cancel");

    async function attempt(what, label, then = () => {}) {
      for (const button of [go, other]) if (button) button.disabled = true;
      wrong.hidden = true;
      text(doing, label);
      try {
        then(await what());
      } catch (error) {
        text(wrong, error.message);
        wrong.hidden = false;
        wrong.scrollIntoView({ block: "nearest" });
      } finally {
        text(doing, "");
        for (const button of [go, other]) if (button) button.disabled = false;
      }
    }

    const submit = (event) => {
      event.preventDefault();
      result = null;
      attempt(act, busy, (done) => { result = done; box.close(); });
    };
    const form = h("form", { onsubmit: submit, oninput: () => shownLine.setText(line()) },
      h("div", { class: "asked", tabindex: "0", role: "group", "aria-labelledby": "asked" },
        h("h2", { id: "asked" }, title), h("p", {}, sentence), content,
        h("div", {}, h("p", { class: "quiet small" }, "The same from the command line:"), shownLine), wrong),
      h("div", { class: "decide" }, doing, h("span", { class: "spring" }), no, other, go));
    const box = open(h("dialog", { class: "sheet", "aria-labelledby": "asked" }, form), () => resolve(result));
    (danger ? no : go).focus();
  });
}
