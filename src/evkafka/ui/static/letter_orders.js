// What can be done with dead letters: handled again, tried first without doing it, or let go. Each with its command.

import { order } from "./api.js";
import { confirm, tell } from "./dialog.js";
import { h } from "./dom.js";
import { some } from "./format.js";

const MANY = 5;
const quoted = (word) => (/^[\w./:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function line(what, topic, places, ...options) {
  return ["evkafka dlq", what, quoted(topic), "--app MODULE:APP", ...places.map((place) => `--at ${place}`), ...options].join(" ");
}

/** The ids of the letters at these places, for people: places alone say which letters are meant. */
function idsOf(places, found) {
  const ids = new Map(found.map((one) => [`${one.partition}@${one.offset}`, one.id]));
  return places.map((place) => ids.get(place) ?? place);
}

function named(places, found) {
  const more = places.length - MANY;
  return h("ul", { class: "small mono" }, idsOf(places.slice(0, MANY), found).map((id) => h("li", {}, id)), more > 0 && h("li", {}, `and ${more} more`));
}

/** What a replay or drop answered, as one sentence. */
function outcome(done, word) {
  const whole = `${some(done.done, "letter")} of ${done.chosen} ${word}.`;
  const [first] = done.failed;
  return first ? `${whole} ${first.id}: ${first.why}` : whole;
}

/** What a dry run answered, as one sentence. */
function rehearsed(done, way) {
  const verb = way === "handler" ? "tried" : "sent";
  const whole = `Dry run: ${some(done.chosen - done.failed.length, "letter")} of ${done.chosen} would be ${verb}. Nothing was done.`;
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
    title: `${dry ? "Try" : "Replay"} ${some(places.length, "dead letter")}${dry ? ", without doing it" : ""}?`,
    sentence: dry ? "Decodes each letter and finds its endpoint, or its topic. Nothing is handled, sent or marked." : "What is handled is marked as replayed, and is not offered again. What fails stays open.",
    line: () => line("replay", topic, places, to(), ...(dry ? ["--dry-run"] : [])),
    verb: dry ? "Dry run" : "Replay",
    fields: [named(places, found), ways],
    act: () => order("letters/replay", { topic, places, ids: idsOf(places, found), to: chosenWay(), dry_run: dry }),
  });
  if (!done) return false;
  if (dry) tell(rehearsed(done, chosenWay()), done.failed.length ? "bad" : "good");
  else tell(outcome(done, "replayed"), done.failed.length ? "bad" : "good");
  return !dry;
}

export async function drop(topic, places, found) {
  const why = h("input", { type: "text", maxlength: "200", placeholder: "written to the log" });
  const done = await confirm({
    title: `Drop ${some(places.length, "dead letter")}?`,
    sentence: "They are marked as dropped, and not offered again. The records stay in the topic as long as it keeps them.",
    line: () => line("drop", topic, places),
    verb: "Drop",
    danger: true,
    fields: [named(places, found), h("label", {}, "Why", why)],
    act: () => order("letters/drop", { topic, places, ids: idsOf(places, found), reason: why.value.trim() }),
  });
  if (done) tell(outcome(done, "dropped"), done.failed.length ? "bad" : "good");
  return Boolean(done);
}
