// The navigation, which the dashboard and the API documentation share.

import { h } from "./dom.js";

/** The screens of the dashboard, in their order: [name, label]. */
export const screens = [
  ["overview", "Overview"],
  ["consumers", "Consumers"],
  ["events", "Events"],
  ["errors", "Errors"],
  ["letters", "Dead letters"],
  ["records", "Records"],
  ["config", "Configuration"],
  ["check", "Self-check"],
];

const iconPaths = {
  overview: "M3 13h4l3-8 4 14 3-6h4",
  consumers: "M4 5h16v5H4zM4 14h16v5H4zM8 7.5h.01M8 16.5h.01",
  events: "M4 6h6l4 6h6M4 18h6l4-6M17 9l3 3-3 3",
  errors: "M12 4 2.8 20h18.4zM12 10v4M12 17h.01",
  letters: "M3 6h18v12H3zM3 7l9 7 9-7",
  records: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5 21 21",
  config: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  check: "M4 12.5 9.5 18 20 6.5",
  documentation: "M6 3h9l4 4v14H6zM14 3v5h5M9 13h6M9 17h6",
};

/** A link with the icon of its screen. */
export const navigationLink = (name, href, ...content) => h("a", { href }, icon(name), ...content);

/** The item of the API documentation, below the screens. */
export function documentationItem(current = false) {
  const link = navigationLink("documentation", "./", "API docs");
  if (current) link.setAttribute("aria-current", "page");
  return h("li", { class: "apart" }, link);
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", iconPaths[name]);
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" })) svg.setAttribute(key, value);
  svg.append(path);
  return svg;
}
