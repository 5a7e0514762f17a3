// The choice of the time span of charts. It is part of the address.

import { attribute, h } from "./dom.js";
import { here, remember } from "./router.js";

const spans = { "5m": "5 min", "15m": "15 min", "1h": "1 hour", "6h": "6 hours" };

/** A row of buttons of which one is pressed. `changed()` is called after another span was selected; `value` is the current one. */
export function timeSpans(changed) {
  const asked = here().params.get("span");
  const buttons = Object.entries(spans).map(([span, label]) => [span, h("button", { type: "button", onclick: () => select(span) }, label)]);
  const group = h("div", { class: "switch", role: "group", "aria-label": "Time span" }, buttons.map(([, button]) => button));

  function show(span) {
    group.value = span;
    for (const [each, button] of buttons) attribute(button, "aria-pressed", String(each === span));
  }

  function select(span) {
    show(span);
    remember({ ...Object.fromEntries(here().params), span: span === "5m" ? "" : span });
    changed();
  }

  show(asked in spans ? asked : "5m");
  return group;
}
