// Shows the screen that the fragment of the address names: `#/letters?topic=orders.dlq`.
//
// The address holds all state of a screen that a person would send to a colleague. These are all of them; every
// parameter may be absent. Build addresses with `to`, never as text.
//
// | screen    | parameters |
// | --------- | ---------- |
// | overview  | `span` of the charts: `5m` (default), `15m`, `1h`, `6h` |
// | consumers | `consumer` one consumer; `topic` also: its topic; `partition` also: one partition; `span` as above |
// | events    | |
// | errors    | `error` the id of an error group; `consumer`, `topic`, `partition`: only errors of these |
// | letters   | `topic` the dead-letter topic, or `consumer` and `source`: the one of that consumer and source topic; `q` text; `error` the class of the error; `event` the event type; `status` `replayed`, `dropped` or `all`; `view=errors` groups; `letter` the position (`partition@offset`) of the one that is open in the drawer |
// | records   | `topic`; `partition` a number or `all`; `offset` a number, or `at` a time in milliseconds, neither: the newest; `key` the whole key; `q` text in key, payload or headers; `record` the position (`partition@offset`) of the one that is open |
// | config    | `q` text in key or value |
// | check     | |
//
// A person who opens something follows a link or `go`: the back button closes it again. A form that filters uses
// `remember`, which adds no history entry.

import { attribute, cell, h, text } from "./dom.js";
import { documentationItem, navigationLink } from "./navigation.js";

/** The current screen and its parameters: { name, params }. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { name: path || "overview", params: new URLSearchParams(query) };
}

/** The address of a screen: `#/letters?topic=…`, without empty parameters. */
export function to(name, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== ""));
  return `#/${name}${query.size ? `?${query}` : ""}`;
}

/** Change the parameters of the current screen in the address, without a new screen and without a history entry. */
export function remember(params) {
  history.replaceState(null, "", to(here().name, params));
}

/** Change the parameters of the current screen in the address, with a history entry: the back button undoes it. */
export function go(params) {
  location.hash = to(here().name, params);
}

/** The path to the current screen, a list of [label, address]. */
export function breadcrumb(path) {
  const steps = path.map(([label, address]) => h("li", {}, h("a", { href: address }, label)));
  return h("nav", { class: "breadcrumb", "aria-label": "Breadcrumb" }, h("ol", {}, steps));
}

// Not scrollIntoView: it moves the start of the tab order, and the first Tab would skip the link to the content.
function reveal(list, link) {
  list.scrollLeft = link.offsetLeft - list.offsetLeft - (list.clientWidth - link.clientWidth) / 2;
}

/**
 * Show the screen of the address, now and whenever the address changes.
 * `screens` are { name, label, make }; make(params) returns an element with optional methods `show(snapshot)`,
 * `end()`, and `navigate(params)`: the parameters changed while the screen is shown. Without it, the screen is created again.
 * `named` is the heading of a screen that shows one thing, in place of `label`.
 */
export function route(screens, { place, heading, list, title, shown }) {
  const links = new Map();
  for (const screen of screens) {
    const number = cell("span", { class: "count" });
    const link = navigationLink(screen.name, to(screen.name), screen.label, number);
    link.number = number;
    links.set(screen.name, link);
    list.append(h("li", {}, link));
  }
  list.append(documentationItem());

  let current = null;
  let shownScreen = null;
  function change(event) {
    const { name, params } = here();
    const screen = screens.find((one) => one.name === name) ?? screens[0];
    if (current?.navigate && screen === shownScreen) return current.navigate(params);
    shownScreen = screen;
    current?.end?.();
    for (const [key, link] of links) attribute(link, "aria-current", key === screen.name ? "page" : null);
    reveal(list, links.get(screen.name));
    current = screen.make(params);
    place.replaceChildren(current);
    text(heading, current.named ?? screen.label);
    document.title = `${current.named ?? screen.label} - ${title}`;
    if (event) {
      scrollTo(0, 0);
      heading.focus({ preventScroll: true });
    }
    shown(current);
  }
  addEventListener("hashchange", change);
  change(null);
  return { links, get current() { return current; } };
}
