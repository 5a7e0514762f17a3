// Requests to the app. Actions need the token; reading needs it too if other machines can reach the page.

import { open, notify } from "./dialog.js";
import { command, h, text } from "./dom.js";

const KEY = "evkafka-token";
let token = storedToken();
const whenChanged = [];
const changed = () => whenChanged.forEach((call) => call());

/** The app refused a request: its sentence, and the HTTP status. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

export async function get(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== ""));
  return answerOf(await request(`ui/api/${path}${query.size ? `?${query}` : ""}`, {}));
}

/** Send an action. Asks the person for the token if there is none, or if it is not valid any more. */
export async function post(path, body) {
  if (!token && !(await askForToken())) throw new Refused("Nothing was done: actions need the token.", 401);
  const response = await send(path, body);
  if (response.status !== 401) return answerOf(response);
  setToken("");
  if (!(await askForToken("The token is not valid any more. The app may have restarted with a new one."))) throw new Refused("Nothing was done: actions need the token.", 401);
  return answerOf(await send(path, body));
}

const send = (path, body, withToken = token) => request(`ui/api/${path}`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }, withToken);

/** Yields the data of server-sent events until the stream ends or is aborted. */
export async function* stream(path, signal) {
  const response = await request(path, { headers: { accept: "text/event-stream" }, signal });
  if (!response.ok) await answerOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

async function request(path, options, withToken = token) {
  const headers = { accept: "application/json", ...options.headers, ...(withToken ? { authorization: `Bearer ${withToken}` } : {}) };
  try {
    return await fetch(path, { ...options, headers, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Refused("The app does not answer. Is it still running?", 0);
  }
}

async function answerOf(response) {
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  throw new Refused(body?.error ?? `The app answered ${response.status} ${response.statusText}`, response.status);
}

// ------------------------------------------------------------------ the token

export const hasToken = () => token !== "";

/** Call back now, and whenever the token is set or removed. */
export function onToken(call) {
  whenChanged.push(call);
  call();
}

export function setToken(value) {
  token = value.trim();
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // no storage: the token is lost when the page is closed
  }
  changed();
}

function storedToken() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** The sentence about a token that the app refuses; null if the token is right. */
async function refusalOf(entered) {
  if (/[^\x21-\x7e]/.test(entered)) return "This token is wrong."; // it cannot be sent in a header
  const response = await send("unlock", {}, entered);
  if (response.ok) return null;
  if (response.status === 401) return "This token is wrong.";
  return answerOf(response).catch((error) => error.message);
}

/** Ask the person for the token, and keep it if it is right. Resolves to whether there is one now. */
export function askForToken(because = "") {
  return new Promise((resolve) => {
    const field = h("input", { type: "password", id: "token-field", required: true, autocomplete: "off", spellcheck: "false" });
    const wrong = h("p", { class: "notice bad", role: "alert", hidden: !because });
    text(wrong, because);
    const unlock = h("button", { type: "submit", class: "main" }, "Unlock");
    const save = async (event) => {
      event.preventDefault();
      unlock.disabled = true;
      const refusal = await refusalOf(field.value.trim()).catch((error) => error.message);
      unlock.disabled = false;
      text(wrong, refusal);
      wrong.hidden = !refusal;
      if (refusal) return field.select();
      setToken(field.value);
      notify("Actions are unlocked in this tab until it is closed.");
      return box.close();
    };
    const form = h("form", { onsubmit: save },
      h("h2", { id: "token-title" }, "Unlock actions"),
      h("p", {}, "Pausing, seeking, replaying and discarding need the token of the app. The app writes it to its log when it starts, unless you set it:"),
      command("export EVKAFKA_UI_TOKEN=$(openssl rand -hex 16)"),
      wrong,
      h("label", {}, "Token", field),
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => box.close() }, "Cancel"), unlock));
    const box = open(h("dialog", { "aria-labelledby": "token-title" }, form), () => resolve(hasToken()));
    field.focus();
  });
}

export function tokenButton(button) {
  button.addEventListener("click", () => {
    if (!hasToken()) return askForToken();
    setToken("");
    return notify("Actions are locked in this tab.");
  });
  onToken(() => text(button, hasToken() ? "Lock" : "Unlock"));
}
