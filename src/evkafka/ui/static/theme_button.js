// The button for the theme: auto, light or dark. The choice is stored in this browser.

import { text } from "./dom.js";
import { repaintAll } from "./chart.js";

const themes = ["auto", "light", "dark"];

export function themeButton(button) {
  const root = document.documentElement;
  const now = () => root.dataset.theme ?? "auto";
  const name = () => {
    text(button.querySelector("span:last-child"), now());
  };
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(now()) + 1) % themes.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("evkafka-theme", next);
    } catch {
      // no storage: the choice is lost when the page is closed
    }
    name();
    repaintAll();
  });
  name();
}
