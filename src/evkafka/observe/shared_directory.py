"""Files that an app's processes leave for each other. A file that cannot be written is no reason to end, or to be
unwell: it is said once, and tried again."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

logger = logging.getLogger("evkafka")

MISSING_BEFORE_MADE = 10
"""After so many failures in a row a directory that is gone is made again."""


class SharedDirectory:
    """Writes a file as a whole: whoever reads meanwhile finds the last one.

    Attributes:
        failing: True while the last write has failed.
        works_since_s: when a write first worked after the last failure, by `time.time()`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.works_since_s = 0.0
        self._failures = 0

    @property
    def failing(self) -> bool:
        return self._failures > 0

    def write(self, name: str, content: bytes) -> bool:
        """False if it could not be written. Never raises.

        It is written plainly: into a file that is mapped into memory, a full disk would be a SIGBUS, which ends the
        process on the spot.
        """
        unfinished = self.path / f"{name}.new"
        try:
            unfinished.write_bytes(content)
            unfinished.replace(self.path / name)
        except OSError as error:
            self._failed(error)
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            return False
        if self._failures:
            logger.info("%s can be written again", self.path)
            self._failures, self.works_since_s = 0, time.time()
        return True

    def remove(self, name: str) -> None:
        """Never raises; what cannot be removed is as old as the process, and others see that it has ended."""
        with suppress(OSError):
            (self.path / name).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning(
                "%s cannot be written (%s): the app's other processes do not learn what this one counts and how it is;"
                " it is tried again every second",
                self.path,
                error.strerror or error,
            )
        elif self._failures == MISSING_BEFORE_MADE and isinstance(error, FileNotFoundError):
            with suppress(OSError):  # the next write says why
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._failures -= 1


@cache
def shared_directory(path: Path) -> SharedDirectory:
    """The one for this path: what fails is said once, by whichever part writes first."""
    return SharedDirectory(path)
