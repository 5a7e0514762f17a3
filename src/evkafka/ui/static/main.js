// The dashboard: connects the screens with the stream of snapshots.

import { attribute, text } from "./dom.js";
import { askForToken, onToken, tokenButton } from "./api.js";
import { timeOfDay } from "./format.js";
import { screens } from "./navigation.js";
import { readSnapshots } from "./snapshot_stream.js";
import { route } from "./router.js";
import { themeButton } from "./theme_button.js";
import { check } from "./self_check.js";
import { config } from "./configuration.js";
import { consumers } from "./consumers.js";
import { errors } from "./errors.js";
import { events } from "./events.js";
import { letters } from "./dead_letters.js";
import { overview } from "./overview.js";
import { records } from "./records.js";

const at = (id) => document.getElementById(id);
const connection = at("connection");
let newest = null;

const make = { overview, consumers, events, errors, letters, records, config, check };
const router = route(
  screens.map(([name, label]) => ({ name, label, make: make[name] })),
  {
    place: at("screen"),
    heading: at("heading"),
    list: at("screens"),
    title: at("app").textContent,
    shown: (screen) => newest && screen.show?.(newest),
  },
);

themeButton(at("theme"));
tokenButton(at("token"));
const reopen = readSnapshots("ui/api/events", showSnapshot, showConnection);
onToken(() => connection.dataset.locked && reopen());

function showSnapshot(snapshot) {
  newest = snapshot;
  router.current.show?.(snapshot);
  badge("overview", snapshot.problems.length);
  badge("errors", snapshot.errors.length);
  badge("letters", snapshot.letters?.open ?? 0);
}

function badge(name, number) {
  const { number: shown } = router.links.get(name);
  shown.setText(number > 0 ? (number > 999 ? "999+" : number) : "");
  attribute(shown, "title", number > 0 ? `${number} to check` : null);
}

const labels = {
  connecting: ["Connecting", ""],
  live: ["Live", "good"],
  lost: ["Connection lost", "bad"],
  stale: ["No updates", "warn"],
  locked: ["Locked", "warn"],
};

function showConnection(state, since) {
  const [label, kind] = labels[state];
  text(connection, label);
  connection.className = kind ? `state ${kind}` : "state";
  const banner = at("banner");
  const isStale = state === "lost" || state === "stale";
  document.documentElement.classList.toggle("stale", isStale);
  banner.className = isStale ? `notice ${kind}` : "";
  text(banner, isStale ? explain(state, since) : "");
  const locked = state === "locked";
  if (locked && !connection.dataset.locked) askForToken("Other machines can reach this page, so reading needs the token too.");
  if (locked) connection.dataset.locked = "yes";
  else delete connection.dataset.locked;
}

function explain(state, since) {
  const then = since ? `All figures are from ${timeOfDay(since)}.` : "";
  return state === "lost" ? `The app does not answer: it may have stopped, or the network is down. ${then} This page retries.` : `The app is connected, but sends no figures: it may be busy or frozen. ${then}`;
}
