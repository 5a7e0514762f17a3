"""Throttles a warning of ours about something that lasts for a while."""

from __future__ import annotations

import logging
import time

EVERY_S = 30.0
"""How often a repeated warning is logged as one."""


GRACE_S = 5.0
"""How long something may fail before it is a warning: a coordinator moves, or a broker restarts."""


class LogThrottle:
    """Logs one repeated warning at once and then every half minute; in between it logs at DEBUG.

    For a single operation that is tried again many times a second.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._last: tuple[str, float] | None = None

    def warn(self, message: str) -> None:
        now_s = time.monotonic()
        if self._last is None or self._last[0] != message or now_s - self._last[1] >= EVERY_S:
            self._last = (message, now_s)
            self._logger.warning("%s", message)
        else:
            self._logger.debug("%s", message)


class Outage:
    """Warns of something that fails for longer than `GRACE_S`; what ends before is logged at DEBUG."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._warnings = LogThrottle(logger)
        self._since_s: float | None = None

    def warn_if_failing_for_long(self, message: str) -> None:
        """It has failed again: log that, as a warning once it has failed for `GRACE_S`."""
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < GRACE_S:
            self._logger.debug("%s", message)
        else:
            self._warnings.warn(message)

    def forget_failures(self) -> None:
        """It has succeeded: the next failure is the first of a new outage."""
        self._since_s = None
