// The screen of the configuration: each value, and whether it was set. The app masks secrets, so they never reach the browser.

import { get } from "./api.js";
import { card, cell, h, table } from "./dom.js";
import { emptyState, emptyText } from "./empty_state.js";
import { plural } from "./format.js";
import { remember } from "./router.js";

export function config(params) {
  const place = h("div", { class: "stack" }, emptyState(...emptyText.loading()));
  const filter = h("input", { type: "search", placeholder: "key or value", value: params.get("q") ?? "", oninput: filterRows });
  const changed = h("input", { type: "checkbox", onchange: filterRows });
  const bar = h("div", { class: "card body fields" }, h("label", { class: "grow" }, "Search", filter), h("label", { class: "beside" }, changed, "Only keys that are set"));
  const number = cell("p", { class: "quiet small", role: "status" });

  function filterRows() {
    let visible = 0;
    for (const row of place.querySelectorAll("tbody tr")) {
      const found = row.textContent.toLowerCase().includes(filter.value.trim().toLowerCase()) && (!changed.checked || row.dataset.set === "yes");
      row.hidden = !found;
      visible += found ? 1 : 0;
    }
    for (const section of place.querySelectorAll("section")) section.hidden = !section.querySelector("tbody tr:not([hidden])");
    number.setText(visible ? plural(visible, "key") : "No key matches.");
    remember({ q: filter.value.trim() });
  }

  get("config").then(
    (answer) => {
      place.replaceChildren(...answer.parts.map(section));
      filterRows();
    },
    (error) => place.firstElementChild.say(error.message),
  );
  return h("div", { class: "stack" }, bar, number, place);
}

function section(one) {
  const rows = table(one.name, ["Key", "Value", "Source"]);
  rows.classList.add("terse");
  for (const key of one.keys) {
    const value = key.masked ? h("span", { class: "masked" }, "hidden") : h("code", {}, key.value);
    const row = h("tr", { "data-set": key.source === "default" ? "no" : "yes" }, h("th", { scope: "row", class: "mono nowrap" }, key.name), h("td", { class: "long" }, value), h("td", { class: key.source === "default" ? "quiet" : null }, key.source));
    rows.body.label(row);
    rows.body.append(row);
  }
  return card(one.name, { id: `config-${one.name.replaceAll(/\W+/g, "-")}` }, rows);
}
