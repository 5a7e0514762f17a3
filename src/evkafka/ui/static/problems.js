// What is wrong, worst first, each with what to do about it first.

import { card, cell, each, h, shown, text } from "./dom.js";

export function problems() {
  const list = h("ul", { class: "problems" });
  const well = h("p", { class: "empty" }, "Nothing is wrong: every consumer reads, and nothing waits for a person.");
  const section = card("What needs attention", { id: "problems", live: true }, list, well);
  return shown(section, (found) => {
    each(list, named(found), (one) => one.key, problem);
    well.hidden = found.length > 0;
    text(section.heading, found.length ? `What needs attention (${found.length})` : "What needs attention");
  });
}

// A problem is the same one while only its figures change; of several that differ in figures alone, the first, the second…
function named(found) {
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
    what.say(one.where ? `${one.where}: ${one.what}` : one.what);
    first.say(one.first);
    link.hidden = !one.screen;
    if (one.screen) link.setAttribute("href", `#/${one.screen}`);
  });
}
