// Auto, light, dark: chosen here, kept in this browser.

import { text } from "./dom.js";
import { repaintAll } from "./chart.js";

const order = ["auto", "light", "dark"];

export function themeButton(button) {
  const root = document.documentElement;
  const now = () => root.dataset.theme ?? "auto";
  const name = () => {
    text(button.querySelector("span:last-child"), now());
  };
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(now()) + 1) % order.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("evkafka-theme", next);
    } catch {
      // kept for this page only
    }
    name();
    repaintAll();
  });
  name();
}
