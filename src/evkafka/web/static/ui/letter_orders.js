// What can be done with dead letters: handled again, tried first without doing it, or let go. Each with its command.

import { order } from "./api.js";
import { confirm, tell } from "./dialog.js";
import { h } from "./dom.js";
import { some } from "./format.js";

const MANY = 5;
const quoted = (word) => (/^[\w./:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function line(what, topic, ids, ...options) {
  return ["evkafka dlq", what, quoted(topic), "--app MODULE:APP", ...ids.map((id) => `--id ${quoted(id)}`), ...options].join(" ");
}

function named(ids) {
  const more = ids.length - MANY;
  return h("ul", { class: "small mono" }, ids.slice(0, MANY).map((id) => h("li", {}, id)), more > 0 && h("li", {}, `and ${more} more`));
}

/** What a replay or drop answered, as one sentence. */
function outcome(done, word) {
  const whole = `${some(done.done, "letter")} of ${done.chosen} ${word}.`;
  const [first] = done.failed;
  return first ? `${whole} ${first.id}: ${first.why}` : whole;
}

export async function replay(topic, ids, _found, dry) {
  const way = (value, label, checked) => h("label", { class: "beside" }, h("input", { type: "radio", name: "way", value, checked }), label);
  const ways = h("fieldset", {}, h("legend", { class: "quiet small" }, "How"),
    way("handler", "by this app's endpoint only", true), way("topic", "sent to the topic they came from: every group there gets them", false));
  const chosenWay = () => ways.querySelector("input:checked").value;
  const to = () => (chosenWay() === "handler" ? "--to-handler" : "--to-topic");
  const done = await confirm({
    title: `${dry ? "Try" : "Replay"} ${some(ids.length, "dead letter")}${dry ? ", without doing it" : ""}?`,
    sentence: dry ? "Says what a replay would do. Nothing is handled, sent or marked." : "What is handled is marked as replayed, and is not offered again. What fails stays open.",
    line: () => line("replay", topic, ids, to(), ...(dry ? ["--dry-run"] : [])),
    verb: dry ? "Dry run" : "Replay",
    fields: [named(ids), ways],
    act: () => order("letters/replay", { topic, ids, to: chosenWay(), dry_run: dry }),
  });
  if (!done) return false;
  if (dry) tell(`Dry run: ${some(done.chosen, "letter")} would be replayed. Nothing was done.`);
  else tell(outcome(done, "replayed"), done.failed.length ? "bad" : "good");
  return !dry;
}

export async function drop(topic, ids) {
  const why = h("input", { type: "text", maxlength: "200", placeholder: "written to the log" });
  const done = await confirm({
    title: `Drop ${some(ids.length, "dead letter")}?`,
    sentence: "They are marked as dropped, and not offered again. The records stay in the topic as long as it keeps them.",
    line: () => line("drop", topic, ids),
    verb: "Drop",
    danger: true,
    fields: [named(ids), h("label", {}, "Why", why)],
    act: () => order("letters/drop", { topic, ids, reason: why.value.trim() }),
  });
  if (done) tell(outcome(done, "dropped"), done.failed.length ? "bad" : "good");
  return Boolean(done);
}
