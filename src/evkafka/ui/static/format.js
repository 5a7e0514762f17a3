// Formats numbers, durations and times. Unknown values are a dash, never zero.

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const two = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(value) : NONE);

/** Large numbers in compact form, for tiles and axes: 12.3K. */
export const short = (value) => (known(value) ? (Math.abs(value) < 10_000 ? whole.format(value) : compact.format(value)) : NONE);

/** A rate per second. */
export function rate(value) {
  if (!known(value)) return NONE;
  if (value >= 10_000) return compact.format(value);
  return value === 0 || value >= 100 ? whole.format(value) : value >= 1 ? one.format(value) : two.format(value);
}

/** A duration in seconds, shown in a suitable unit. */
export function seconds(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "0 s";
  if (value < 0.001) return value < 0.000001 ? "< 1 µs" : `${whole.format(value * 1_000_000)} µs`;
  if (value < 1) return `${value < 0.01 ? one.format(value * 1000) : whole.format(value * 1000)} ms`;
  if (value < 60) return `${one.format(value)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
  if (value < 86_400) return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
  return `${Math.floor(value / 86_400)} d ${Math.floor((value % 86_400) / 3600)} h`;
}

export const millis = (value) => (known(value) ? seconds(value / 1000) : NONE);

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

/** A timestamp that is not a valid date is shown as a number: a producer may write any. */
const formatTime = (at, format) => (!known(at) ? NONE : Math.abs(at) <= 8.64e15 ? format.format(at) : `${at} ms`);

/** The time of day of a timestamp in milliseconds since the epoch. */
export const timeOfDay = (at) => formatTime(at, clock);
export const moment = (at) => formatTime(at, day);

/** How long ago, in words. */
export function ago(at, now = Date.now()) {
  if (!known(at)) return NONE;
  const past = (now - at) / 1000;
  return past < 2 ? "just now" : `${past < 60 ? `${Math.floor(past)} s` : seconds(past)} ago`;
}

/** A number with its noun: plural(2, "record"). */
export const plural = (number, name, several = `${name}s`) => `${count(number)} ${number === 1 ? name : several}`;

/** The name of a class without its module. */
export const shortName = (name) => name.slice(name.lastIndexOf(".") + 1);

/** The address of a partition or record. */
export const address = (topic, partition, offset) => (offset === undefined || offset === null ? `${topic}[${partition}]` : `${topic}[${partition}]@${offset}`);

export function bytes(value) {
  if (!known(value)) return NONE;
  return value < 1024 ? `${value} B` : value < 1024 * 1024 ? `${one.format(value / 1024)} KiB` : `${one.format(value / 1048576)} MiB`;
}
