"""Warnings about what goes on for a while: the first at once, then one every half minute."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiokafka.errors import GroupCoordinatorNotAvailableError

EVERY_S = 30.0


class LogThrottle:
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

    @contextmanager
    def named(self, topic: str) -> Iterator[None]:
        """Inside, this topic is waited for."""
        self.names[topic] += 1
        try:
            yield
        finally:
            self.names[topic] -= 1

    def filter(self, record: logging.LogRecord) -> bool:
        said_of = record.args[0] if isinstance(record.args, tuple) and record.args else None
        return not (self.names[str(said_of)] > 0 and ("not found" in record.msg or "No partition" in record.msg))


class CoordinatorInTheMaking(logging.Filter):
    """Keeps back the client's lines that there is no group coordinator, or that it is dead, while that is no news.

    A cluster's first group makes it create the topic of offsets. Until then, and for a second after a restart, it has
    no coordinator, or one that does not answer for the group yet ("Marking the coordinator dead"). The client asks
    again by itself; what lasts longer than `PATIENCE_S` is logged.
    """

    PATIENCE_S = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._first_s = self._last_s = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.args[0] if isinstance(record.args, tuple) and record.args else None
        is_missing = isinstance(said, GroupCoordinatorNotAvailableError)
        if not is_missing and not str(record.msg).startswith("Marking the coordinator dead"):
            return True
        now_s = time.monotonic()
        if now_s - self._last_s > self.PATIENCE_S:
            self._first_s = now_s
        self._last_s = now_s
        return now_s - self._first_s > self.PATIENCE_S


class OncePerHalfMinute(logging.Filter):
    """Lets a warning or error that is repeated word for word pass once in half a minute, and says how often it came.

    In an outage the client tries again many times a second, each time with the same sentence.
    """

    KEPT = 200
    """Sentences that are remembered."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said: dict[str, tuple[float, int]] = {}  # sentence -> when it last passed, how often it came since

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        sentence, now_s = record.getMessage(), self._now()
        passed_s, held_back = self._said.get(sentence, (float("-inf"), 0))
        if now_s - passed_s < EVERY_S:
            self._said[sentence] = passed_s, held_back + 1
            return False
        self._said.pop(sentence, None)  # so that the eldest stands first
        self._said[sentence] = now_s, 0
        if len(self._said) > self.KEPT:
            del self._said[next(iter(self._said))]
        if held_back:
            record.msg, record.args = (
                f"%s (and {held_back} times more in the last {now_s - passed_s:.0f} s)",
                (sentence,),
            )
        return True


awaited_topics = AwaitedTopics()
logging.getLogger("aiokafka.cluster").addFilter(awaited_topics)
logging.getLogger("aiokafka.coordinator.assignors.roundrobin").addFilter(awaited_topics)
logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(CoordinatorInTheMaking())

once_per_half_minute = OncePerHalfMinute()
for _name in (
    "",
    ".client",
    ".cluster",
    ".conn",
    ".consumer.fetcher",
    ".consumer.group_coordinator",
    ".producer.sender",
):
    logging.getLogger(f"aiokafka{_name}").addFilter(once_per_half_minute)  # a logger's filters do not see its children
