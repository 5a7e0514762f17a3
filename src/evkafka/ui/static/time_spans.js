// The choice of the time span of charts. It is part of the address.

import { h } from "./dom.js";
import { here, remember } from "./router.js";

const spans = { "5m": "5 min", "15m": "15 min", "1h": "1 hour", "6h": "6 hours" };

/** A group of radio buttons. `changed()` is called after another span was selected; `value` is the current one. */
export function timeSpans(changed) {
  const asked = here().params.get("span");
  const group = h("fieldset", { class: "choice" }, h("legend", { class: "only-read" }, "Time span"));
  group.value = asked in spans ? asked : "5m";
  for (const [span, label] of Object.entries(spans)) {
    const input = h("input", { type: "radio", name: "span", value: span, onchange: select });
    input.checked = span === group.value;
    group.append(h("label", {}, input, h("span", {}, label)));
  }

  function select(event) {
    group.value = event.target.value;
    remember({ ...Object.fromEntries(here().params), span: group.value === "5m" ? "" : group.value });
    changed();
  }
  return group;
}
