// A small bar chart without axes, for a cell of a table.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 24;

function shape(name, attributes) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** `show(values, label)` draws one bar for each value; the label says for readers what it shows. */
export function sparkline() {
  const svg = shape("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  let drawn = "";
  svg.show = (values, label) => {
    const now = values.join();
    if (now === drawn) return;
    drawn = now;
    const highest = Math.max(...values, 1);
    const step = WIDTH / values.length;
    const bars = values.flatMap((value, at) => {
      if (!value) return [];
      const height = Math.max(2, (value / highest) * (HEIGHT - 1));
      return [shape("rect", { x: at * step, y: HEIGHT - height, width: Math.max(1, step - 0.5), height })];
    });
    svg.setAttribute("aria-label", label);
    svg.replaceChildren(shape("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }), ...bars);
  };
  return svg;
}
