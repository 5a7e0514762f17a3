// Self-check: what the app finds when it looks at itself, and what to do about what is wrong.

import { ask } from "./api.js";
import { card, h, state, text } from "./dom.js";
import { moment } from "./format.js";
import { command } from "./dom.js";

const words = { ok: ["In order", "good"], note: ["Worth knowing", ""], warn: ["Look at this", "warn"], bad: ["Wrong", "bad"] };

export function check() {
  const list = h("ul", { class: "problems" });
  const said = h("p", { class: "empty", role: "status" }, "Looking…");
  const again = h("button", { type: "button", onclick: look }, "Check again");
  const section = card("What was looked at", { id: "check", aside: again }, said, list);

  async function look() {
    again.disabled = true;
    try {
      const told = await ask("check");
      const wrong = told.checks.filter((one) => one.result === "bad" || one.result === "warn").length;
      text(said, `${wrong ? `${wrong} of ${told.checks.length} checks found something` : `None of ${told.checks.length} checks found anything wrong`} (${moment(told.at_ms)}).`);
      const worst = ["bad", "warn", "note", "ok"];
      list.replaceChildren(...told.checks.toSorted((a, b) => worst.indexOf(a.result) - worst.indexOf(b.result)).map(one));
    } catch (error) {
      text(said, error.message);
    }
    again.disabled = false;
  }

  look();
  return section;
}

function one(found) {
  const [word, kind] = words[found.result] ?? [found.result, ""];
  return h("li", { class: kind },
    h("p", {}, state(word, kind), " ", h("span", { class: "what" }, found.name)),
    found.sentence && h("p", {}, found.sentence),
    found.fix && h("p", {}, h("span", { class: "quiet" }, "Fix: "), found.fix),
    found.command && command(found.command));
}
