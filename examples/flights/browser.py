"""Opens the dashboard in a browser, where somebody can see it."""

from __future__ import annotations

import os
import sys
import webbrowser


def open_in_browser(url: str) -> bool:
    """Open the address if this is a terminal of a desktop. Returns whether a browser was opened."""
    return _on_a_desktop() and webbrowser.open(url)


def _on_a_desktop() -> bool:
    if not sys.stdout.isatty() or os.environ.get("CI") or os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    # Without a display webbrowser would start a text browser in this terminal.
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
