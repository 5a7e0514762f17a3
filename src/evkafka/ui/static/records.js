// Records as they stand in a topic: by offset, or by time. Looking reads a few and moves nobody's position.

import { ask } from "./api.js";
import { card, command, each, focused, h, shown, table, text } from "./dom.js";
import { address, bytes, moment, some } from "./format.js";
import { facts, headers, payload } from "./record.js";
import { remember } from "./router.js";

const MOST = 50;

export function records(params) {
  const topic = h("select", { name: "topic", onchange: () => fill() });
  const partition = h("select", { name: "partition" });
  const by = h("select", { name: "by", onchange: swap }, h("option", { value: "offset" }, "an offset"), h("option", { value: "time" }, "a time"), h("option", { value: "newest" }, "the newest"));
  const offset = h("input", { type: "number", name: "offset", min: "0", step: "1", value: params.get("offset") ?? "0" });
  const time = h("input", { type: "datetime-local", name: "time", step: "1", value: new Date(Date.now() - new Date().getTimezoneOffset() * 60_000 - 3_600_000).toISOString().slice(0, 19) });
  const offsetField = h("label", {}, "Offset", offset);
  const timeField = h("label", { hidden: true }, "Time here", time);
  const search = h("form", { class: "card body fields", role: "search", "aria-label": "Records", onsubmit: (event) => { event.preventDefault(); look(); } },
    h("label", {}, "Topic", topic), h("label", {}, "Partition", partition), h("label", {}, "From", by), offsetField, timeField, h("button", { type: "submit" }, "Look"));
  const rows = table("Records", [["Offset", "number"], "Written", "Key", "Event", "Payload", ["Size", "number"], ["Details", "number", true]]);
  const none = h("p", { class: "empty", role: "status" }, "Looking…");
  const older = h("button", { type: "button", class: "tiny", onclick: () => page(-1) }, "Older");
  const newer = h("button", { type: "button", class: "tiny", onclick: () => page(1) }, "Newer");
  const list = card("Records", { id: "records", aside: h("div", { class: "actions" }, older, newer) }, rows, none);
  const twin = command("");
  const same = h("div", {}, h("p", { class: "quiet small" }, "The same from the command line:"), twin);
  const place = h("div", {});
  let topics = [];
  let told = null;

  function swap() {
    offsetField.hidden = by.value !== "offset";
    timeField.hidden = by.value !== "time";
  }

  function fill(wanted = 0) {
    const numbers = topics.find((one) => one.topic === topic.value)?.partitions ?? [];
    each(partition, numbers, (number) => number, (number) => shown(h("option", { value: number }, number), () => {}));
    partition.value = numbers.includes(Number(wanted)) ? wanted : numbers[0] ?? "";
  }

  async function begin() {
    try {
      ({ topics } = await ask("topics"));
    } catch (error) {
      text(none, error.message);
      return;
    }
    each(topic, topics, (one) => one.topic, (one) => shown(h("option", { value: one.topic }, one.topic), () => {}));
    if (topics.some((one) => one.topic === params.get("topic"))) topic.value = params.get("topic");
    fill(params.get("partition") ?? 0);
    if (!params.has("offset")) by.value = "newest";
    swap();
    if (topics.length) look();
    else text(none, "This app reads no topic.");
  }

  function page(direction) {
    if (!told?.records.length) return;
    by.value = "offset";
    swap();
    offset.value = direction > 0 ? told.records.at(-1).offset + 1 : Math.max(told.first ?? 0, told.records[0].offset - MOST);
    look();
  }

  async function look() {
    const asked = { topic: topic.value, partition: partition.value, limit: MOST };
    if (by.value === "offset") asked.offset = offset.value;
    if (by.value === "time") asked.at_ms = new Date(time.value).getTime();
    const from = asked.offset ?? (asked.at_ms ? new Date(asked.at_ms).toISOString() : null);
    twin.say(`evkafka tail ${asked.topic} --app MODULE:APP --partition ${asked.partition} ${from === null ? `--last ${MOST}` : `--from ${from} --limit ${MOST}`} --no-follow`);
    remember({ topic: asked.topic, partition: asked.partition, offset: asked.offset });
    try {
      told = await ask("records", asked);
      text(none, told.end > told.first ? `Nothing there: the partition holds ${told.first} to ${told.end - 1}.` : "The partition is empty.");
    } catch (error) {
      told = { records: [], first: 0, end: 0 };
      text(none, error.message);
    }
    draw();
  }

  function draw() {
    place.replaceChildren();
    const listed = by.value === "newest" ? told.records.toReversed() : told.records;
    each(rows.body, listed, (one) => address(one.topic, one.partition, one.offset), (one) => row(one, () => place.replaceChildren(focused(details(one)))));
    rows.hidden = !told.records.length;
    none.hidden = told.records.length > 0;
    older.disabled = !told.records.length || told.records[0].offset <= told.first;
    newer.disabled = !told.records.length || told.records.at(-1).offset + 1 >= told.end;
    text(list.heading, told.records.length ? `${some(told.records.length, "record")} of ${address(topic.value, partition.value)}, which holds ${told.first} to ${told.end - 1}` : "Records");
    if (by.value === "offset" && params.has("offset") && told.records[0]?.offset === Number(offset.value)) place.replaceChildren(details(told.records[0]));
  }

  begin();
  return h("div", { class: "stack" }, search, list, place, same);
}

function row(one, look) {
  const brief = one.value ? one.value.text.slice(0, 160).replaceAll(/\s+/g, " ") : "tombstone";
  return shown(h("tr", {},
    h("th", { scope: "row", class: "number" }, one.offset), h("td", { class: "nowrap" }, moment(one.timestamp_ms)),
    h("td", { class: "mono" }, one.key ? one.key.text : "–"), h("td", {}, one.event_type ?? "–"),
    h("td", { class: "long mono brief" }, brief), h("td", { class: "number" }, bytes(one.value?.size ?? 0)),
    h("td", { class: "number" }, h("button", { type: "button", class: "tiny", onclick: look, "aria-label": `Show offset ${one.offset}` }, "Show"))), () => {});
}

function details(one) {
  return card(`Record ${address(one.topic, one.partition, one.offset)}`, { id: "record" },
    h("div", { class: "body" }, facts(one), h("h3", {}, "Payload"), payload(one.value),
      h("details", { open: one.headers.length > 0 }, h("summary", {}, `Headers (${one.headers.length})`), headers(one.headers))));
}
