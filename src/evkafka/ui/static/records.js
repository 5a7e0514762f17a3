// The screen of records in a topic, by offset or by time. Reading them changes no consumer's position.

import { get } from "./api.js";
import { card, command, each, focused, h, shown, table, text } from "./dom.js";
import { address, bytes, moment, plural } from "./format.js";
import { facts, headers, payload } from "./record.js";
import { remember } from "./router.js";

const PAGE_SIZE = 50;

export function records(params) {
  const topic = h("select", { name: "topic", onchange: () => showPartitions() });
  const partition = h("select", { name: "partition" });
  const by = h("select", { name: "by", onchange: showStartField }, h("option", { value: "offset" }, "an offset"), h("option", { value: "time" }, "a time"), h("option", { value: "newest" }, "the newest"));
  const offset = h("input", { type: "number", name: "offset", min: "0", step: "1", value: params.get("offset") ?? "0" });
  const time = h("input", { type: "datetime-local", name: "time", step: "1", value: new Date(Date.now() - new Date().getTimezoneOffset() * 60_000 - 3_600_000).toISOString().slice(0, 19) });
  const offsetField = h("label", {}, "Offset", offset);
  const timeField = h("label", { hidden: true }, "Time here", time);
  const search = h("form", { class: "card body fields", role: "search", "aria-label": "Records", onsubmit: (event) => { event.preventDefault(); load(); } },
    h("label", {}, "Topic", topic), h("label", {}, "Partition", partition), h("label", {}, "From", by), offsetField, timeField, h("button", { type: "submit" }, "Look"));
  const rows = table("Records", [["Offset", "number"], "Written", "Key", "Event", "Payload", ["Size", "number"], ["Details", "number", true]]);
  const none = h("p", { class: "empty", role: "status" }, "Looking…");
  const older = h("button", { type: "button", class: "tiny", onclick: () => page(-1) }, "Older");
  const newer = h("button", { type: "button", class: "tiny", onclick: () => page(1) }, "Newer");
  const list = card("Records", { id: "records", aside: h("div", { class: "actions" }, older, newer) }, rows, none);
  const line = command("");
  const same = h("div", {}, h("p", { class: "quiet small" }, "The same from the command line:"), line);
  const place = h("div", {});
  let topics = [];
  let answer = null;

  function showStartField() {
    offsetField.hidden = by.value !== "offset";
    timeField.hidden = by.value !== "time";
  }

  function showPartitions(wanted = 0) {
    const numbers = topics.find((one) => one.topic === topic.value)?.partitions ?? [];
    each(partition, numbers, (number) => number, (number) => shown(h("option", { value: number }, number), () => {}));
    partition.value = numbers.includes(Number(wanted)) ? wanted : numbers[0] ?? "";
  }

  async function start() {
    try {
      ({ topics } = await get("topics"));
    } catch (error) {
      text(none, error.message);
      return;
    }
    each(topic, topics, (one) => one.topic, (one) => shown(h("option", { value: one.topic }, one.topic), () => {}));
    if (topics.some((one) => one.topic === params.get("topic"))) topic.value = params.get("topic");
    showPartitions(params.get("partition") ?? 0);
    if (!params.has("offset")) by.value = "newest";
    showStartField();
    if (topics.length) load();
    else text(none, "This app reads no topic.");
  }

  function page(direction) {
    if (!answer?.records.length) return;
    by.value = "offset";
    showStartField();
    offset.value = direction > 0 ? answer.records.at(-1).offset + 1 : Math.max(answer.first ?? 0, answer.records[0].offset - PAGE_SIZE);
    load();
  }

  async function load() {
    const asked = { topic: topic.value, partition: partition.value, limit: PAGE_SIZE };
    if (by.value === "offset") asked.offset = offset.value;
    if (by.value === "time") asked.at_ms = new Date(time.value).getTime();
    const from = asked.offset ?? (asked.at_ms ? new Date(asked.at_ms).toISOString() : null);
    line.setText(`evkafka tail ${asked.topic} --app MODULE:APP --partition ${asked.partition} ${from === null ? `--last ${PAGE_SIZE}` : `--from ${from} --limit ${PAGE_SIZE}`} --no-follow`);
    remember({ topic: asked.topic, partition: asked.partition, offset: asked.offset });
    try {
      answer = await get("records", asked);
      text(none, answer.end > answer.first ? `Nothing there: the partition holds ${answer.first} to ${answer.end - 1}.` : "The partition is empty.");
    } catch (error) {
      answer = { records: [], first: 0, end: 0 };
      text(none, error.message);
    }
    draw();
  }

  function draw() {
    place.replaceChildren();
    const listed = by.value === "newest" ? answer.records.toReversed() : answer.records;
    each(rows.body, listed, (one) => address(one.topic, one.partition, one.offset), (one) => row(one, () => place.replaceChildren(focused(details(one)))));
    rows.hidden = !answer.records.length;
    none.hidden = answer.records.length > 0;
    older.disabled = !answer.records.length || answer.records[0].offset <= answer.first;
    newer.disabled = !answer.records.length || answer.records.at(-1).offset + 1 >= answer.end;
    text(list.heading, answer.records.length ? `${plural(answer.records.length, "record")} of ${address(topic.value, partition.value)}, which holds ${answer.first} to ${answer.end - 1}` : "Records");
    if (by.value === "offset" && params.has("offset") && answer.records[0]?.offset === Number(offset.value)) place.replaceChildren(details(answer.records[0]));
  }

  start();
  return h("div", { class: "stack" }, search, list, place, same);
}

function row(one, open) {
  const brief = one.value ? one.value.text.slice(0, 160).replaceAll(/\s+/g, " ") : "tombstone";
  return shown(h("tr", {},
    h("th", { scope: "row", class: "number" }, one.offset), h("td", { class: "nowrap" }, moment(one.timestamp_ms)),
    h("td", { class: "mono" }, one.key ? one.key.text : "–"), h("td", {}, one.event_type ?? "–"),
    h("td", { class: "long mono brief" }, brief), h("td", { class: "number" }, bytes(one.value?.size ?? 0)),
    h("td", { class: "number" }, h("button", { type: "button", class: "tiny", onclick: open, "aria-label": `Show offset ${one.offset}` }, "Show"))), () => {});
}

function details(one) {
  return card(`Record ${address(one.topic, one.partition, one.offset)}`, { id: "record" },
    h("div", { class: "body" }, facts(one), h("h3", {}, "Payload"), payload(one.value),
      h("details", { open: one.headers.length > 0 }, h("summary", {}, `Headers (${one.headers.length})`), headers(one.headers))));
}
