// Dialogs that ask before an action, and notices about its result.

import { command, h, text } from "./dom.js";

/**
 * Ask before an action. Shows what will happen, and the command that does the same.
 * `fields` are extra elements. `act` does the action; if it throws, the dialog shows the error and stays open.
 * Resolves to the result of `act`, or to undefined if the person cancels.
 */
export function confirm({ title, sentence, line, verb, danger = false, fields = [], act }) {
  return new Promise((resolve) => {
    const wrong = h("p", { class: "notice bad", role: "alert", hidden: true });
    const go = h("button", { type: "submit", class: danger ? "danger" : "main" }, verb);
    const no = h("button", { type: "button", onclick: () => box.close() }, "Cancel");
    const shownLine = command(typeof line === "function" ? line() : line ?? "");
    let result;

    async function submit(event) {
      event.preventDefault();
      go.disabled = true;
      wrong.hidden = true;
      try {
        result = (await act()) ?? true;
        box.close();
      } catch (error) {
        text(wrong, error.message);
        wrong.hidden = false;
      } finally {
        go.disabled = false;
      }
    }

    const form = h("form", { onsubmit: submit, oninput: () => typeof line === "function" && shownLine.setText(line()) },
      h("h2", { id: "asked" }, title),
      sentence && h("p", {}, sentence),
      fields,
      line && h("div", {}, h("p", { class: "quiet small" }, "The same from the command line:"), shownLine),
      wrong,
      h("div", { class: "actions" }, no, go));
    const box = open(h("dialog", { "aria-labelledby": "asked" }, form), () => resolve(result));
  });
}

/** Show a modal dialog until it is closed. Then the focus returns to the element that had it. */
export function open(box, closed = () => {}) {
  const before = document.activeElement;
  box.addEventListener("close", () => {
    box.remove();
    if (before?.isConnected) before.focus();
    closed();
  });
  document.body.append(box);
  box.showModal();
  return box;
}

const NOTICE_MS = 8000;

/** Show a notice: of kind "good", or of kind "bad", which stays until the person dismisses it. */
export function notify(sentence, kind = "good") {
  const place = document.getElementById("told");
  const close = h("button", { type: "button", class: "tiny", onclick: () => notice.remove() }, "Dismiss");
  const notice = h("div", { class: `notice ${kind}` }, h("span", {}, sentence), close);
  // The same notice is shown once: many of them would cover the page.
  for (const earlier of [...place.children]) if (earlier.firstChild.textContent === sentence) earlier.remove();
  place.append(notice);
  if (kind !== "bad") setTimeout(() => notice.remove(), NOTICE_MS);
}
