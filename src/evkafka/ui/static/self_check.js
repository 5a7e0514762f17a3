// The screen of the self-check: what the app finds wrong, and how to fix it.

import { get } from "./api.js";
import { appOption } from "./command_line.js";
import { card, command, h, state, text } from "./dom.js";
import { moment, plural } from "./format.js";

const labels = { ok: ["OK", "good"], note: ["Note", ""], warn: ["Warning", "warn"], bad: ["Failed", "bad"] };

export function check() {
  const list = h("ul", { class: "problems" });
  const summary = h("p", { class: "empty", role: "status" }, "Checking…");
  const again = h("button", { type: "button", onclick: load }, "Check again");
  const section = card("Checks", { id: "check", aside: again }, summary, list);

  async function load() {
    again.disabled = true;
    try {
      const answer = await get("check");
      const wrong = answer.checks.filter((one) => one.result === "bad" || one.result === "warn").length;
      text(summary, `${wrong ? `${wrong} of ${plural(answer.checks.length, "check")} found a problem` : `${plural(answer.checks.length, "check")}, no problem found`} (${moment(answer.at_ms)}).`);
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
    check.command && command(check.command.replace("MODULE:APP", appOption().replace(/^--app /, ""))));
}
