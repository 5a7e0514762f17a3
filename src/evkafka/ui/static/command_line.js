// Parts of the commands that the page shows.

/** The options that name this app: `--app shop:app`, as it was started. */
export const appOption = () => document.body.dataset.app || "--app MODULE:APP";

/** A word for a shell. */
export const quoted = (word) => (/^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** An option with its value; none if there is no value. */
export const option = (name, value) => (value ? [`${name}${value.startsWith("-") ? "=" : " "}${quoted(value)}`] : []);
