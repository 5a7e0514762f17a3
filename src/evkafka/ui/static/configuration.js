// The screen of the configuration: each value, and whether it was set. The app masks secrets, so they never reach the browser.

import { get } from "./api.js";
import { card, cell, h, table, text } from "./dom.js";

export function config() {
  const place = h("div", { class: "stack" }, h("p", { class: "card empty", role: "status" }, "Looking…"));
  const filter = h("input", { type: "search", placeholder: "key or value", oninput: filterRows });
  const changed = h("input", { type: "checkbox", onchange: filterRows });
  const bar = h("div", { class: "card body fields" }, h("label", { class: "grow" }, "Containing", filter), h("label", { class: "beside" }, changed, "Only what is set"));
  const number = cell("p", { class: "only-read", role: "status" });

  function filterRows() {
    let visible = 0;
    for (const row of place.querySelectorAll("tbody tr")) {
      const found = row.textContent.toLowerCase().includes(filter.value.trim().toLowerCase()) && (!changed.checked || row.dataset.set === "yes");
      row.hidden = !found;
      visible += found ? 1 : 0;
    }
    number.setText(`${visible} keys shown`);
  }

  get("config").then(
    (answer) => place.replaceChildren(...answer.parts.map(section)),
    (error) => text(place.firstElementChild, error.message),
  );
  return h("div", { class: "stack" }, bar, number, place);
}

function section(one) {
  const rows = table(one.name, ["Key", "Value", "From"]);
  rows.classList.add("terse");
  for (const key of one.keys) {
    const value = key.masked ? h("span", { class: "masked" }, "hidden") : h("code", {}, key.value);
    const row = h("tr", { "data-set": key.source === "default" ? "no" : "yes" }, h("th", { scope: "row", class: "mono nowrap" }, key.name), h("td", { class: "long" }, value), h("td", { class: key.source === "default" ? "quiet" : null }, key.source));
    rows.body.label(row);
    rows.body.append(row);
  }
  return card(one.name, { id: `config-${one.name.replaceAll(/\W+/g, "-")}` }, rows);
}
