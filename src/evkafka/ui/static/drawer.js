// A panel beside a list: next to it in a wide window, over it in a narrow one.

import { cell, h } from "./dom.js";

const overlaid = matchMedia("(max-width: 75rem)"); // as in lists.css

/**
 * Put a drawer beside `list`. Returns the element for both, with:
 * `open(name, heading, aside, ...content)` shows content, and keeps the scroll position if it has the same name;
 * `close()` hides it, as Escape does; `isOpen`; and `end()`. `closed()` is called when it is hidden.
 */
export function withDrawer(list, label, closed) {
  const place = h("div", { class: "drawer-head" });
  const content = h("div", { class: "drawer-body", tabindex: "0", role: "group", "aria-label": `${label}: content` });
  const panel = h("aside", { class: "drawer", "aria-label": label, hidden: true, tabindex: "-1" }, place, content);
  const main = h("div", { class: "drawer-list" }, list);
  const both = h("div", { class: "with-drawer" }, main, panel);
  let shown = null;

  const cover = () => (main.inert = shown !== null && overlaid.matches); // what is covered cannot be reached by Tab
  overlaid.addEventListener("change", cover);

  function close() {
    if (shown === null) return;
    shown = null;
    panel.hidden = true;
    both.classList.remove("open");
    cover();
    closed();
  }

  const escape = (event) => event.key === "Escape" && !event.target.closest("dialog, input, select") && close();
  document.addEventListener("keydown", escape);

  both.open = (name, heading, aside, ...children) => {
    const scrolled = shown === name ? content.scrollTop : 0;
    const first = shown === null;
    const inside = panel.contains(document.activeElement);
    const had = inside && document.activeElement.getAttribute("aria-label");
    shown = name;
    const title = cell("h2", { tabindex: "-1" }, heading);
    const button = h("button", { type: "button", class: "tiny", "aria-label": "Close", title: "Close (Esc)", onclick: close }, "✕");
    place.replaceChildren(title, h("span", { class: "spring" }), ...[aside].flat(), button);
    content.replaceChildren(...children.flat().filter(Boolean));
    panel.hidden = false;
    both.classList.add("open");
    cover();
    content.scrollTop = scrolled;
    const same = inside && [...place.querySelectorAll("button:enabled")].find((one) => one.getAttribute("aria-label") === had);
    if (inside) (same || title).focus();
    else if (first && overlaid.matches) queueMicrotask(() => title.focus());
  };
  both.close = close;
  both.end = () => {
    overlaid.removeEventListener("change", cover);
    document.removeEventListener("keydown", escape);
  };
  Object.defineProperty(both, "isOpen", { get: () => shown !== null });
  return both;
}
