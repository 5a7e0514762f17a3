"""Files that the processes of an app share. If a file cannot be written, the process does not end and is not unhealthy:
the failure is logged once, and the write is tried again."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

logger = logging.getLogger("evkafka")

FAILURES_BEFORE_CREATED = 10
"""After so many failures in a row a directory that no longer exists is created again."""


class SharedDirectory:
    """Replaces files as a whole: a reader finds either the old or the new content.

    Attributes:
        failing: True if the last write failed.
        works_since_s: when the first write after the last failure succeeded, by `time.time()`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.works_since_s = 0.0
        self._failures = 0

    @property
    def failing(self) -> bool:
        return self._failures > 0

    def write_file(self, name: str, content: bytes) -> bool:
        """Returns False if it could not be written. Never raises.

        It does not use a memory-mapped file, because a full disk would then cause a SIGBUS, which ends the process.
        """
        unfinished = self.path / f"{name}.new"
        try:
            unfinished.write_bytes(content)
            unfinished.replace(self.path / name)
        except OSError as error:
            self._log_failure_or_recreate_directory(error)
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            return False
        if self._failures:
            logger.info("%s is writable again", self.path)
            self._failures, self.works_since_s = 0, time.time()
        return True

    def remove_file(self, name: str) -> None:
        """Never raises. A file that cannot be removed names a process of which others see that it has ended."""
        with suppress(OSError):
            (self.path / name).unlink(missing_ok=True)

    def _log_failure_or_recreate_directory(self, error: OSError) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning(
                "cannot write %s (%s): the metrics and health of this process are missing in the app's other"
                " processes; trying again every second",
                self.path,
                error.strerror or error,
            )
        elif self._failures == FAILURES_BEFORE_CREATED and isinstance(error, FileNotFoundError):
            with suppress(OSError):  # the next write says why
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._failures -= 1


@cache
def cached_shared_directory(path: Path) -> SharedDirectory:
    """One instance for each path, so that a failure is logged once, and not by each part that writes."""
    return SharedDirectory(path)
