// Sets the theme that was chosen last. A classic script, so that it runs before the first paint and nothing flashes.
(() => {
  try {
    const chosen = localStorage.getItem("evkafka-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // no storage: the page uses the system's theme
  }
})();
