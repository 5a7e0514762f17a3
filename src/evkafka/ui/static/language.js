// uPlot formats numbers in the browser's language, and fails to load if Intl does not accept that: "en-US@posix" in Chromium under LANG=C.
// A classic script that is loaded before uPlot.
(() => {
  try {
    Intl.getCanonicalLocales(navigator.language);
  } catch {
    Object.defineProperty(navigator, "language", { value: "en" });
  }
})();
