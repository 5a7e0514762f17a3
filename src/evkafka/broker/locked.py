"""Tells whether another process has locked a file in the way that Java does."""

from __future__ import annotations

import sys
from pathlib import Path


def is_locked(path: Path) -> bool:
    """True if another process has locked the file. Always False on Windows, which has no such locks."""
    if sys.platform == "win32" or not path.exists():
        return False
    import fcntl

    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False  # closing the file releases the lock
