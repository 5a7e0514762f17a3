// Actions on dead letters: replay, dry run and drop, each with the command that does the same.

import { post } from "./api.js";
import { confirm, notify } from "./dialog.js";
import { h } from "./dom.js";
import { plural } from "./format.js";

const LISTED_MAX = 5;
const quoted = (word) => (/^[\w./:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function commandLine(what, topic, places, ...options) {
  return ["evkafka dlq", what, quoted(topic), "--app MODULE:APP", ...places.map((place) => `--at ${place}`), ...options].join(" ");
}

/** The ids of the dead letters at these places, for people to read: only the places identify them. */
function idsOf(places, found) {
  const ids = new Map(found.map((one) => [`${one.partition}@${one.offset}`, one.id]));
  return places.map((place) => ids.get(place) ?? place);
}

function idList(places, found) {
  const more = places.length - LISTED_MAX;
  return h("ul", { class: "small mono" }, idsOf(places.slice(0, LISTED_MAX), found).map((id) => h("li", {}, id)), more > 0 && h("li", {}, `and ${more} more`));
}

/** The result of a replay or drop as one sentence. */
function resultText(done, verb) {
  const whole = `${plural(done.done, "letter")} of ${done.chosen} ${verb}.`;
  const [first] = done.failed;
  return first ? `${whole} ${first.id}: ${first.why}` : whole;
}

/** The result of a dry run as one sentence. */
function dryRunText(done, way) {
  const verb = way === "handler" ? "tried" : "sent";
  const whole = `Dry run: ${plural(done.chosen - done.failed.length, "letter")} of ${done.chosen} would be ${verb}. Nothing was done.`;
  const [first] = done.failed;
  return first ? `${whole} ${first.id}: ${first.why}` : whole;
}

export async function replay(topic, places, found, dry) {
  const way = (value, label, checked) => h("label", { class: "beside" }, h("input", { type: "radio", name: "way", value, checked }), label);
  const ways = h("fieldset", {}, h("legend", { class: "quiet small" }, "How"),
    way("handler", "by this app's endpoint only", true), way("topic", "sent to the topic they came from: every group there gets them", false));
  const chosenWay = () => ways.querySelector("input:checked").value;
  const to = () => (chosenWay() === "handler" ? "--to-handler" : "--to-topic");
  const done = await confirm({
    title: `${dry ? "Try" : "Replay"} ${plural(places.length, "dead letter")}${dry ? ", without doing it" : ""}?`,
    sentence: dry ? "Decodes each letter and finds its endpoint, or its topic. Nothing is handled, sent or marked." : "What is handled is marked as replayed, and is not offered again. What fails stays open.",
    line: () => commandLine("replay", topic, places, to(), ...(dry ? ["--dry-run"] : [])),
    verb: dry ? "Dry run" : "Replay",
    fields: [idList(places, found), ways],
    act: () => post("letters/replay", { topic, places, ids: idsOf(places, found), to: chosenWay(), dry_run: dry }),
  });
  if (!done) return false;
  if (dry) notify(dryRunText(done, chosenWay()), done.failed.length ? "bad" : "good");
  else notify(resultText(done, "replayed"), done.failed.length ? "bad" : "good");
  return !dry;
}

export async function drop(topic, places, found) {
  const why = h("input", { type: "text", maxlength: "200", placeholder: "written to the log" });
  const done = await confirm({
    title: `Drop ${plural(places.length, "dead letter")}?`,
    sentence: "They are marked as dropped, and not offered again. The records stay in the topic as long as it keeps them.",
    line: () => commandLine("drop", topic, places),
    verb: "Drop",
    danger: true,
    fields: [idList(places, found), h("label", {}, "Why", why)],
    act: () => post("letters/drop", { topic, places, ids: idsOf(places, found), reason: why.value.trim() }),
  });
  if (done) notify(resultText(done, "dropped"), done.failed.length ? "bad" : "good");
  return Boolean(done);
}
