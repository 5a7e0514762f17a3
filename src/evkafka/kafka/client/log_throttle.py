"""Throttles a warning of ours about something that lasts for a while."""

from __future__ import annotations

import logging
import time

EVERY_S = 30.0
"""How often a repeated warning is logged as one."""


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
