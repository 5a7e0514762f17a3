// The stream of snapshots (server-sent events), and how far it can be believed.
//
// The browser reconnects by itself after a cut, but not after an answer that refuses the stream: then it is opened anew here.
// A connection can also be open and silent (a frozen process, a proxy in between): then the figures are stale, and it is said.

const STALE_MS = 6000;
const AGAIN_MS = 2000;

/**
 * `take(snapshot)` gets every snapshot; `say(state, at)` is told "connecting", "live", "lost" or "stale", and when
 * the last snapshot came.
 */
export function live(url, take, say) {
  let stream = null;
  let at = null;
  let silent = 0;
  let again = 0;

  function open() {
    clearTimeout(again);
    stream?.close();
    stream = new EventSource(url);
    stream.onmessage = (message) => {
      at = Date.now();
      say("live", at);
      watch();
      take(JSON.parse(message.data));
    };
    stream.onerror = () => {
      say(at === null ? "connecting" : "lost", at);
      clearTimeout(silent);
      if (stream.readyState === EventSource.CLOSED) again = setTimeout(open, AGAIN_MS);
    };
    watch();
  }

  function watch() {
    clearTimeout(silent);
    silent = setTimeout(() => at !== null && say("stale", at), STALE_MS);
  }

  // A machine that slept has timers that did too, and a connection that nobody told of its end.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && at !== null && Date.now() - at > STALE_MS) open();
  });
  open();
  return { open };
}
