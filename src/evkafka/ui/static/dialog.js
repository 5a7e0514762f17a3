// Questions before anything is changed, and the sentences afterwards.

import { command, h, text } from "./dom.js";

/**
 * Ask before something is done. Shows what will happen and the command that does the same.
 * `fields` are extra elements; `act` does it, and its error is shown in the dialog, which then stays open.
 * Resolves to what `act` returned, or to undefined when the person declined.
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

    const form = h("form", { onsubmit: submit, oninput: () => typeof line === "function" && shownLine.say(line()) },
      h("h2", { id: "asked" }, title),
      sentence && h("p", {}, sentence),
      fields,
      line && h("div", {}, h("p", { class: "quiet small" }, "The same from the command line:"), shownLine),
      wrong,
      h("div", { class: "actions" }, no, go));
    const box = open(h("dialog", { "aria-labelledby": "asked" }, form), () => resolve(result));
  });
}

/** Show a dialog, modal, until it is closed. Focus goes back to where it was. */
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

const TOLD_MS = 8000;

/** Say what was done (kind "good") or what went wrong ("bad", which stays until it is dismissed). */
export function tell(sentence, kind = "good") {
  const place = document.getElementById("told");
  const close = h("button", { type: "button", class: "tiny", onclick: () => notice.remove() }, "Dismiss");
  const notice = h("div", { class: `notice ${kind}` }, h("span", {}, sentence), close);
  // What went wrong again in the same way is said once: a pile of it would cover the page.
  for (const earlier of [...place.children]) if (earlier.firstChild.textContent === sentence) earlier.remove();
  place.append(notice);
  if (kind !== "bad") setTimeout(() => notice.remove(), TOLD_MS);
}
