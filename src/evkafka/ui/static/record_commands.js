// Commands of the command line about records.

import { appOption, quoted } from "./command_line.js";

/** The command that prints the records of the form, or those from an offset on. */
export function tailLine(form, limit, from = null) {
  const { topic, partition, offset, at, key, q } = form.params;
  const start = from ?? (offset || (at === null ? null : new Date(at).toISOString()));
  return [
    "evkafka tail", quoted(topic), appOption(),
    partition !== "all" && `--partition ${partition}`,
    key && `--key ${quoted(key)}`,
    q && `--grep ${quoted(q)}`,
    start !== null ? `--from ${start}` : form.isSearch ? "--from earliest" : `--last ${limit}`,
    start !== null && `--limit ${limit}`,
    "--no-follow",
  ].filter(Boolean).join(" ");
}

/** The command that sends an event to a topic, with the example of its first event type. */
export async function sendLine(topic) {
  const example = await exampleOf(topic).catch(() => null);
  const payload = JSON.stringify(example?.payload ?? {});
  return ["evkafka send", quoted(topic), quoted(payload), example?.type && `--type ${quoted(example.type)}`, appOption()].filter(Boolean).join(" ");
}

async function exampleOf(topic) {
  const response = await fetch("asyncapi.json", { credentials: "same-origin" });
  const { channels, components } = await response.json();
  const channel = Object.values(channels).find((one) => one.address === topic);
  for (const reference of Object.values(channel?.messages ?? {})) {
    const message = components.messages[reference.$ref.split("/").at(-1).replaceAll("~1", "/").replaceAll("~0", "~")];
    if (message) return { type: message.name, payload: message.examples?.[0]?.payload };
  }
  return null;
}
