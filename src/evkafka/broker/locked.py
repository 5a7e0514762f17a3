"""Whether another process holds the lock on a file, as Java takes it."""

from __future__ import annotations

import sys
from pathlib import Path


def is_locked(path: Path) -> bool:
    """True where another process has locked the file. False on Windows, where that cannot be asked."""
    if sys.platform == "win32" or not path.exists():
        return False
    import fcntl

    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False  # closing the file gives the lock back
