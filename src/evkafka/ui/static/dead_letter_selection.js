// Which open dead letters are selected: single ones, or all that match the filter.
//
// A selection survives paging. It ends when the filter changes; after an action it is what failed.

export function selection() {
  const places = new Set();
  let all = false;

  return {
    has: (one) => one.status === "open" && (all || places.has(one.place)),
    get all() { return all; },
    get places() { return [...places]; },
    /** How many are selected, if `matching` open ones match the filter. */
    number: (matching) => (all ? matching : places.size),
    clear() { places.clear(); all = false; },
    selectAll() { places.clear(); all = true; },
    /** Only these places. */
    keep(wanted) { places.clear(); all = false; wanted.forEach((place) => places.add(place)); },
    /** Select one or not. Without it, all that match become those of the page. */
    set(one, on, page) {
      if (one.status !== "open") return;
      if (all && !on) {
        all = false;
        for (const other of page) if (other.status === "open") places.add(other.place);
      }
      if (on) places.add(one.place);
      else places.delete(one.place);
    },
    /** "all", "some" or "none" of the page. */
    of(page) {
      const open = page.filter((one) => one.status === "open");
      const chosen = open.filter((one) => all || places.has(one.place)).length;
      return chosen === 0 ? "none" : chosen === open.length ? "all" : "some";
    },
  };
}
