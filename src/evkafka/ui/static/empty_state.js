// What a screen shows in place of an empty list: that there is nothing, and the next step.

import { command, h } from "./dom.js";
import { to } from "./router.js";

/**
 * An element for one of the texts below, or any other: `none.say(...emptyText.noErrors())`.
 * The first argument of `say` is the sentence, the others are paragraphs or elements. The same sentence changes nothing,
 * so that each snapshot may say it again.
 */
export function emptyState(...first) {
  const element = h("div", { class: "empty steps", role: "status" });
  let said = null;
  element.say = (sentence, ...next) => {
    if (sentence === said) return;
    said = sentence;
    element.replaceChildren(h("p", {}, sentence), ...next.map((one) => (typeof one === "string" ? h("p", {}, one) : one)));
  };
  if (first.length) element.say(...first);
  return element;
}

const paragraph = (...parts) => h("p", {}, ...parts);
const link = (screen, label, params) => h("a", { href: to(screen, params) }, label);

/** The texts, as arguments of `say`. */
export const emptyText = {
  loading: () => ["Loading…"],
  notStarted: () => ["The consumers have not started yet.", paragraph("If this takes longer than a few seconds, the ", link("check", "self-check"), " shows what is missing.")],
  noConsumers: (snapshot) => (snapshot.events.length ? emptyText.notStarted() : emptyText.noneDeclared()),
  noneDeclared: () => ["This app has no consumer. Add one:", command('app.add_consumer({"topics": ["orders"], "group_id": "billing"}, handler)')],
  noErrors: () => ["No attempt has failed since this app started.", paragraph("An error appears here with its traceback and its records. Records that failed earlier are in ", link("letters", "dead letters"), ".")],
  noDeadLetters: (topic) => [`No open dead letters in ${topic}.`, paragraph("A record is written there when its last attempt has failed. Failed attempts are in ", link("errors", "errors"), ".")],
  noDeadLetterTopic: () => ["No consumer of this app writes dead letters. To keep the records that fail, set in a consumer's configuration:", command('"on_error": {"max_attempts": 5, "then": "dead_letter"}')],
  noRecords: (topic, sendLine) => [`${topic} has no records. Send one:`, command(sendLine)],
  noMatch: (clear) => ["Nothing matches.", h("p", {}, h("button", { type: "button", onclick: clear }, "Clear the search"))],
};
