// The list of problems, the worst first, each with the first thing to do.

import { card, cell, each, h, shown, text } from "./dom.js";

export function problems() {
  const list = h("ul", { class: "problems" });
  const none = h("p", { class: "empty" }, "Nothing is wrong: every consumer reads, and nothing waits for a person.");
  const section = card("What needs attention", { id: "problems", live: true }, list, none);
  return shown(section, (found) => {
    each(list, withKeys(found), (one) => one.key, problem);
    none.hidden = found.length > 0;
    text(section.heading, found.length ? `What needs attention (${found.length})` : "What needs attention");
  });
}

// A problem keeps its key while only its figures change. Several that differ in figures only are numbered.
function withKeys(found) {
  const seen = new Map();
  return found.map((one) => {
    const about = `${one.where} ${one.screen} ${one.what.replaceAll(/[\d.,]+/g, "0")}`;
    seen.set(about, (seen.get(about) ?? 0) + 1);
    return { ...one, key: `${about} ${seen.get(about)}` };
  });
}

function problem() {
  const what = cell("p", { class: "what" });
  const first = cell("span");
  const link = h("a", { href: "#/overview", hidden: true }, "Go there");
  const row = h("li", {}, what, h("p", {}, h("span", { class: "quiet" }, "First: "), first, " ", link));
  return shown(row, (one) => {
    row.className = one.kind;
    what.setText(one.where ? `${one.where}: ${one.what}` : one.what);
    first.setText(one.first);
    link.hidden = !one.screen;
    if (one.screen) link.setAttribute("href", `#/${one.screen}`);
  });
}
