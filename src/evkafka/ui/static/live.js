// The stream of snapshots (server-sent events), and how far it can be believed.
//
// Read with fetch and not with EventSource, which can send no token. A connection can be cut, and it can be open and
// silent (a process that stands still, a proxy in between): then the figures are stale, and it is said.

import { stream } from "./api.js";

const STALE_MS = 6000;
const NEXT_MS = 1000;
const AGAIN_MS = [500, 1000, 2000, 5000];

/**
 * `take(snapshot)` gets every snapshot; `say(state, at)` is told "connecting", "live", "lost", "stale" or "locked", and
 * when the last snapshot came. Returns what opens the stream anew.
 */
export function live(path, take, say) {
  let at = null; // when the last snapshot came
  let tries = 0;
  let stop = new AbortController();
  let silent = 0;
  let again = 0;

  async function open() {
    clearTimeout(again);
    stop.abort();
    const mine = (stop = new AbortController());
    let told = 0;
    try {
      for await (const snapshot of stream(path, mine.signal)) {
        if (mine.signal.aborted) return;
        at = Date.now();
        told += 1;
        tries = 0;
        watch();
        say("live", at);
        take(snapshot);
      }
      if (mine.signal.aborted) return;
      if (told) again = setTimeout(open, NEXT_MS); // ended in good order: where the page is mounted, each stream is one snapshot
      else failed(mine, null);
    } catch (error) {
      failed(mine, error);
    }
  }

  function failed(mine, error) {
    if (mine.signal.aborted) return; // another one has taken over
    clearTimeout(silent);
    if (error?.status === 401) return say("locked", at);
    say(at === null ? "connecting" : "lost", at);
    again = setTimeout(open, AGAIN_MS[Math.min(tries++, AGAIN_MS.length - 1)]);
  }

  function watch() {
    clearTimeout(silent);
    silent = setTimeout(() => say("stale", at), STALE_MS);
  }

  // A machine that slept has timers that did too, and a connection that nobody told of its end.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && at !== null && Date.now() - at > STALE_MS) open();
  });
  open();
  return open;
}
