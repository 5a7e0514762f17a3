// Small tools for the document. Text goes in as text nodes only: nothing here, or above it, ever reads a string as HTML.
// What is shown is updated in place: a node lives as long as the thing that it shows, so that scroll, selection, focus
// and open <details> survive every update.

/** Make an element: h("td", { class: "number", onclick: f }, "text", child). False, null and undefined set nothing. */
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

/** Make the text of an element be this one; untouched where it already is. */
export function text(element, value) {
  const wanted = value === null || value === undefined ? "" : String(value);
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** An element whose text is set over and over: `const rate = cell("td", {class: "number"}); rate.say(3)`. */
export function cell(name, attributes = {}, first = "") {
  const element = h(name, attributes, first);
  element.say = (value) => text(element, value);
  return element;
}

/** A dotted name, which may break behind its dots. */
export const dotted = (name) => name.split(/(?<=\.)/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));

/** The word of a state, with its colour: good, warn, bad or nothing. */
export function state(word = "", kind = "") {
  const element = h("span", { class: "state" });
  element.say = (said, how = "") => {
    text(element, said);
    attribute(element, "class", how ? `state ${how}` : "state");
    return element;
  };
  return element.say(word, kind);
}

/**
 * Keep the children of a parent in step with a list of things: one node for each key, kept, moved, made or removed.
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

/** An element with a way to show a thing on it. */
export function shown(element, show) {
  element.show = show;
  return element;
}

/**
 * A table in a box that scrolls sideways by itself. `columns` are [heading, class] pairs or headings.
 * The box carries the name that assistive technology says, and can be reached by keyboard for scrolling.
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

// Where the window is narrow, a row is a block, and each cell carries its column's name: the style sheet shows it. A table
// that is laid out like this is one to assistive technology only if it says so.
function label(row, columns) {
  attribute(row, "role", "row");
  [...row.children].forEach((cell, at) => {
    const [heading, , hidden] = columns[at];
    attribute(cell, "role", cell.localName === "th" ? "rowheader" : "cell");
    attribute(cell, "data-label", hidden ? null : heading);
  });
}

/** A card: a section with a heading, perhaps with something at the right of it. */
export function card(heading, { id, aside = [], live = false } = {}, ...children) {
  const title = h("h2", { id: id ?? null }, heading);
  const section = h("section", { class: live ? "card live" : "card", "aria-labelledby": id ?? null },
    h("header", {}, title, h("span", { class: "spring" }), aside), children);
  section.heading = title;
  return section;
}

/** Bring a card that somebody asked for into view, and the keyboard to it, once it stands in the document. */
export function focused(section) {
  section.heading.tabIndex = -1;
  queueMicrotask(() => { section.scrollIntoView({ block: "nearest" }); section.heading.focus({ preventScroll: true }); });
  return section;
}

export function pairs(list) {
  return h("dl", { class: "pairs" }, list.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
}

/** Text that is to be copied, with the button that copies it. */
export function command(line) {
  const code = h("code", {}, line);
  const button = h("button", { type: "button", class: "tiny", onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // not over plain http from elsewhere: marked, at least
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
  const whole = h("div", { class: "command" }, code, button);
  whole.say = (value) => text(code, value);
  return whole;
}
