"""Warnings about what goes on for a while: the first at once, then one every half minute."""

from __future__ import annotations

import logging
import time
from collections import Counter

EVERY_S = 30.0


class Sparing:
    """A warner for one matter that is tried again many times a second; in between it speaks at DEBUG."""

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


class AwaitedTopics(logging.Filter):
    """Keeps the client from calling a topic that we wait for an error, with every look at the metadata."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        said_of = record.args[0] if isinstance(record.args, tuple) and record.args else None
        return not (self.names[str(said_of)] > 0 and "not found" in record.msg)


awaited_topics = AwaitedTopics()
logging.getLogger("aiokafka.cluster").addFilter(awaited_topics)
