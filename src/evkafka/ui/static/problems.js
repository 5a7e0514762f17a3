// The list of problems, the worst first, each with the first thing to do. The app sorts them.

import { card, cell, each, h, shown, text } from "./dom.js";

export function problems() {
  const list = h("ul", { class: "problems" });
  const none = h("p", { class: "empty" }, "No problems: every consumer reads, and there are no open dead letters.");
  const section = card("Needs attention", { id: "problems", live: true }, list, none);
  return shown(section, (found) => {
    each(list, found, (one) => one.key, problem);
    none.hidden = found.length > 0;
    text(section.heading, found.length ? `Needs attention (${found.length})` : "Needs attention");
  });
}

function problem() {
  const what = cell("p", { class: "what" });
  const first = cell("span");
  const link = h("a", { href: "#/overview", hidden: true }, "View");
  const row = h("li", {}, what, h("p", {}, h("span", { class: "quiet" }, "First: "), first, " ", link));
  return shown(row, (one) => {
    row.className = one.kind;
    what.setText(one.where ? `${one.where}: ${one.what}` : one.what);
    first.setText(one.first);
    link.hidden = !one.screen;
    text(link, one.link);
    if (one.screen) link.setAttribute("href", `#/${one.screen}`);
  });
}
