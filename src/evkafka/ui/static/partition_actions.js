// Actions on a partition: pause, resume and seek. Each asks first, and shows the command that does the same.

import { post } from "./api.js";
import { confirm, notify } from "./dialog.js";
import { h } from "./dom.js";
import { address, count } from "./format.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const python = (where, call) => h("p", { class: "quiet small" }, "In code, from any thread of the process: ", h("code", {}, `app.consumer(${JSON.stringify(where.consumer)}).${call}`));

// These actions change this process only, so the command calls this page's address.
function curl(path, body) {
  const url = new URL(`ui/api/${path}`, document.baseURI).href;
  return `curl -X POST ${url} -H "authorization: Bearer $EVKAFKA_UI_TOKEN" -H "content-type: application/json" -d ${quoted(JSON.stringify(body))}`;
}

export async function pause(where) {
  const name = address(where.topic, where.partition);
  const done = await confirm({
    title: `Pause ${name}?`,
    sentence: "None of its records is handled until it is resumed; attempts in flight continue. It stays paused in this process through rebalances and restarts of the consumer, and its lag grows.",
    line: curl("pause", where),
    fields: [python(where, `pause(${JSON.stringify(where.topic)}, ${where.partition})`)],
    verb: "Pause",
    act: () => post("pause", where),
  });
  if (done) notify(`${name} is paused.`);
}

export async function resume(where) {
  const name = address(where.topic, where.partition);
  const done = await confirm({
    title: `Resume ${name}?`,
    sentence: "It continues at its position.",
    line: curl("resume", where),
    fields: [python(where, `resume(${JSON.stringify(where.topic)}, ${where.partition})`)],
    verb: "Resume",
    act: () => post("resume", where),
  });
  if (done) notify(`${name} is resumed.`);
}

export async function seek(where, now) {
  const name = address(where.topic, where.partition);
  const field = h("input", { type: "number", min: "0", step: "1", required: true, value: now.position ?? 0 });
  const offset = () => Math.max(0, Math.trunc(Number(field.value) || 0));
  const done = await confirm({
    title: `Read ${name} from another offset?`,
    sentence: "Seeking back handles records again; seeking forward skips records for good. The new position is committed at once.",
    line: () => curl("seek", { ...where, offset: offset() }),
    verb: "Seek",
    danger: true,
    fields: [h("label", {}, `Offset (now at ${count(now.position)}, the end is ${count(now.end)})`, field), python(where, `seek(${JSON.stringify(where.topic)}, ${where.partition}, offset)`)],
    act: () => post("seek", { ...where, offset: offset() }),
  });
  if (done) notify(`${name} continues at offset ${offset()}.`);
}
