// Reads the stream of snapshots (server-sent events), and reports whether the figures are current.
//
// It uses fetch, because EventSource cannot send a token. A connection can be lost, and it can be open but silent
// (a stopped process, a proxy in between): then the figures are stale, and the page says so.

import { stream } from "./api.js";

const STALE_MS = 6000;
const NEXT_MS = 1000;
const RETRY_MS = [500, 1000, 2000, 5000];

/**
 * `onSnapshot(snapshot)` gets every snapshot. `onState(state, at)` gets "connecting", "live", "lost", "stale" or
 * "locked", and the time of the last snapshot. Returns a function that opens the stream again.
 */
export function readSnapshots(path, onSnapshot, onState) {
  let at = null; // the time of the last snapshot
  let tries = 0;
  let stop = new AbortController();
  let staleTimer = 0;
  let retryTimer = 0;

  async function open() {
    clearTimeout(retryTimer);
    stop.abort();
    const mine = (stop = new AbortController());
    let received = 0;
    try {
      for await (const snapshot of stream(path, mine.signal)) {
        if (mine.signal.aborted) return;
        at = Date.now();
        received += 1;
        tries = 0;
        startStaleTimer();
        onState("live", at);
        onSnapshot(snapshot);
      }
      if (mine.signal.aborted) return;
      if (received) retryTimer = setTimeout(open, NEXT_MS); // a normal end: in a mounted page, each stream has one snapshot
      else failed(mine, null);
    } catch (error) {
      failed(mine, error);
    }
  }

  function failed(mine, error) {
    if (mine.signal.aborted) return; // a newer stream has replaced this one
    clearTimeout(staleTimer);
    if (error?.status === 401) return onState("locked", at);
    onState(at === null ? "connecting" : "lost", at);
    retryTimer = setTimeout(open, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
  }

  function startStaleTimer() {
    clearTimeout(staleTimer);
    staleTimer = setTimeout(() => onState("stale", at), STALE_MS);
  }

  // After the machine slept, timers are late, and the connection may have ended without notice.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && at !== null && Date.now() - at > STALE_MS) open();
  });
  open();
  return open;
}
