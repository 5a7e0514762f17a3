// Before anything is painted: the theme that was chosen here last, so that nothing flashes. A classic script for that reason.
(() => {
  try {
    const chosen = localStorage.getItem("evkafka-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // no storage, no choice: the system's theme it is
  }
})();
