// Functions that create and update elements. Text is added as text nodes only: no module of the page parses strings as
// HTML. Elements are updated in place: a node exists as long as the item that it shows, so that scroll position,
// selection, focus and open <details> survive every update.

/** Create an element: h("td", { class: "number", onclick: f }, "text", child). False, null and undefined set nothing. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) attribute(element, key, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function attribute(element, key, value) {
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (value === false || value === null || value === undefined) element.removeAttribute(key);
  else if (element.getAttribute(key) !== String(value)) element.setAttribute(key, value === true ? "" : value);
}

/** Set the text of an element, if it differs. */
export function text(element, value) {
  const wanted = value === null || value === undefined ? "" : String(value);
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** An element whose text changes: `const rate = cell("td", {class: "number"}); rate.setText(3)`. */
export function cell(name, attributes = {}, first = "") {
  const element = h(name, attributes, first);
  element.setText = (value) => text(element, value);
  return element;
}

/** A dotted name that may wrap after its dots. */
export const dotted = (name) => name.split(/(?<=\.)/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));

/** The label of a state, with its kind: good, warn, bad or empty. */
export function state(label = "", kind = "") {
  const element = h("span", { class: "state" });
  element.setText = (newLabel, newKind = "") => {
    text(element, newLabel);
    attribute(element, "class", newKind ? `state ${newKind}` : "state");
    return element;
  };
  return element.setText(label, kind);
}

/**
 * Update the children of a parent to a list of items: one node for each key, which is kept, moved, created or removed.
 * `make(item)` returns an element with a method `show(item)`.
 */
export function each(parent, items, key, make) {
  const known = (parent.shownByKey ??= new Map());
  const wanted = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    if (wanted.has(name)) continue;
    wanted.add(name);
    let node = known.get(name);
    if (!node) {
      known.set(name, (node = make(item)));
      parent.label?.(node);
    }
    node.show(item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const [name, node] of known) {
    if (wanted.has(name)) continue;
    known.delete(name);
    node.remove();
  }
}

/** An element with a method `show(item)` that updates it. */
export function shown(element, show) {
  element.show = show;
  return element;
}

/**
 * A table in a box that scrolls horizontally. `columns` are [heading, class, hidden] or headings.
 * The box has the accessible name, and can be focused, so that the keyboard can scroll it.
 */
export function table(name, columns) {
  const head = columns.map((column) => {
    const [heading, kind, hidden] = [column].flat();
    return h("th", { scope: "col", role: "columnheader", class: kind || null }, hidden ? h("span", { class: "only-read" }, heading) : heading);
  });
  const body = h("tbody", { role: "rowgroup" });
  body.label = (row) => label(row, columns.map((column) => [column].flat()));
  const box = h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": name },
    h("table", { role: "table" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)), body));
  box.body = body;
  return box;
}

// In a narrow window the style sheet shows a row as a block, and each cell with the name of its column. Assistive
// technology then sees a table only because of the roles.
function label(row, columns) {
  attribute(row, "role", "row");
  [...row.children].forEach((cell, at) => {
    const [heading, , hidden] = columns[at];
    attribute(cell, "role", cell.localName === "th" ? "rowheader" : "cell");
    attribute(cell, "data-label", hidden ? null : heading);
  });
}

/** A section with a heading, and elements at the right of the heading. */
export function card(heading, { id, aside = [], live = false } = {}, ...children) {
  const title = h("h2", { id: id ?? null }, heading);
  const section = h("section", { class: live ? "card live" : "card", "aria-labelledby": id ?? null },
    h("header", {}, title, h("span", { class: "spring" }), aside), children);
  section.heading = title;
  return section;
}

/** Scroll to a card that the person opened and focus it, after it was added to the document. */
export function focused(section) {
  section.heading.tabIndex = -1;
  queueMicrotask(() => { section.scrollIntoView({ block: "nearest" }); section.heading.focus({ preventScroll: true }); });
  return section;
}

export function pairs(list) {
  return h("dl", { class: "pairs" }, list.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
}

/** A text with a button that copies it. */
export function command(line) {
  const code = h("code", {}, line);
  const button = h("button", { type: "button", class: "tiny", onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // browsers have no clipboard over plain http: select the text instead
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
  const whole = h("div", { class: "command" }, code, button);
  whole.setText = (value) => text(code, value);
  return whole;
}
