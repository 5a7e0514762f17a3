// The form of the records screen: which topic and partition, from where, and the search.

import { get } from "./api.js";
import { each, h, shown } from "./dom.js";

const ALL = "all";
const HOUR_MS = 3_600_000;

/** `search` is called when the person submits the form or clears the search. */
export function recordForm(params, search) {
  const topic = h("select", { name: "topic", onchange: () => showPartitions() });
  const partition = h("select", { name: "partition" });
  const from = h("select", { name: "from", onchange: showStart }, h("option", { value: "newest" }, "newest"), h("option", { value: "offset" }, "offset"), h("option", { value: "time" }, "time"));
  const offset = h("input", { type: "number", name: "offset", min: "0", step: "1", required: true });
  const time = h("input", { type: "datetime-local", name: "time", step: "1", required: true });
  const key = h("input", { type: "search", name: "key", maxlength: "200", placeholder: "the whole key", autocomplete: "off", spellcheck: "false" });
  const words = h("input", { type: "search", name: "q", maxlength: "200", placeholder: "in key, payload or headers", autocomplete: "off", spellcheck: "false" });
  const offsetField = h("label", {}, "Offset", offset);
  const timeField = h("label", {}, "Time (of this browser)", time);
  const button = h("button", { type: "submit", class: "main" }, "Search");
  const element = h("form", { class: "card body fields", role: "search", "aria-label": "Records", onsubmit: submit },
    h("label", {}, "Topic", topic), h("label", {}, "Partition", partition), h("label", {}, "Start at", from), offsetField, timeField,
    h("label", { class: "grow" }, "Key", key), h("label", { class: "grow" }, "Text", words), button);
  let topics = [];

  /** Without topics nothing can be searched, and their arrival fills the form: what is typed before would be lost. */
  function enable(isEnabled) {
    for (const one of [topic, partition, from, key, words, button]) one.disabled = !isEnabled;
  }

  function submit(event) {
    event.preventDefault();
    search();
  }

  function showStart() {
    offsetField.hidden = offset.disabled = from.value !== "offset";
    timeField.hidden = time.disabled = from.value !== "time";
  }

  function showPartitions(wanted = ALL) {
    const numbers = topics.find((one) => one.topic === topic.value)?.partitions ?? [];
    each(partition, [ALL, ...numbers], (number) => number, (number) => shown(h("option", { value: number }, number), () => {}));
    partition.value = numbers.includes(Number(wanted)) ? wanted : ALL;
  }

  const whole = {
    element,
    get topic() { return topic.value; },
    get isNewest() { return from.value === "newest"; },
    get isSearch() { return Boolean(key.value.trim() || words.value.trim()); },
    /** The parameters of the address. */
    get params() {
      const at = from.value === "time" ? new Date(time.value).getTime() : null;
      return { topic: topic.value, partition: partition.value, offset: from.value === "offset" ? offset.value : null, at, key: key.value.trim(), q: words.value.trim() };
    },
    /** The parameters of the request. */
    get query() {
      const { at, ...others } = whole.params;
      return { ...others, at_ms: at };
    },
    /** Whether an address has the same parameters, apart from the record that is open. */
    isSame(changed) {
      return Object.entries(whole.params).every(([name, value]) => (changed.get(name) ?? "") === String(value ?? ""));
    },
    fill(given) {
      if (topics.some((one) => one.topic === given.get("topic"))) topic.value = given.get("topic");
      showPartitions(given.get("partition") ?? ALL);
      from.value = given.get("offset") ? "offset" : given.get("at") ? "time" : "newest";
      offset.value = given.get("offset") ?? "0";
      time.value = localTime(Number(given.get("at")) || Date.now() - HOUR_MS);
      key.value = given.get("key") ?? "";
      words.value = given.get("q") ?? "";
      showStart();
    },
    clear() {
      key.value = words.value = "";
      search();
    },
    /** Load the topics. */
    async load() {
      ({ topics } = await get("topics"));
      each(topic, topics, (one) => one.topic, (one) => shown(h("option", { value: one.topic }, one.topic), () => {}));
      whole.fill(params);
      enable(topics.length > 0);
    },
  };
  enable(false);
  showStart();
  return whole;
}

/** A time as the value of a field of the type datetime-local. */
function localTime(atMs) {
  const local = new Date(Math.min(Math.max(atMs, 0), 253_402_214_400_000));
  return new Date(local.getTime() - local.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
