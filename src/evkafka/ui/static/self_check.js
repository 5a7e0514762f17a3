// The screen of the self-check: what the app finds wrong, and how to fix it.

import { get } from "./api.js";
import { card, command, h, state, text } from "./dom.js";
import { moment } from "./format.js";

const labels = { ok: ["In order", "good"], note: ["Worth knowing", ""], warn: ["Look at this", "warn"], bad: ["Wrong", "bad"] };

export function check() {
  const list = h("ul", { class: "problems" });
  const summary = h("p", { class: "empty", role: "status" }, "Looking…");
  const again = h("button", { type: "button", onclick: load }, "Check again");
  const section = card("What was looked at", { id: "check", aside: again }, summary, list);

  async function load() {
    again.disabled = true;
    try {
      const answer = await get("check");
      const wrong = answer.checks.filter((one) => one.result === "bad" || one.result === "warn").length;
      text(summary, `${wrong ? `${wrong} of ${answer.checks.length} checks found something` : `None of ${answer.checks.length} checks found anything wrong`} (${moment(answer.at_ms)}).`);
      const worst = ["bad", "warn", "note", "ok"];
      list.replaceChildren(...answer.checks.toSorted((a, b) => worst.indexOf(a.result) - worst.indexOf(b.result)).map(row));
    } catch (error) {
      text(summary, error.message);
    }
    again.disabled = false;
  }

  load();
  return section;
}

function row(check) {
  const [label, kind] = labels[check.result] ?? [check.result, ""];
  return h("li", { class: kind },
    h("p", {}, state(label, kind), " ", h("span", { class: "what" }, check.name)),
    check.sentence && h("p", {}, check.sentence),
    check.fix && h("p", {}, h("span", { class: "quiet" }, "Fix: "), check.fix),
    check.command && command(check.command));
}
