"""Filters for aiokafka's log lines (aiokafka-defects.md#repeated-log-lines).

They are installed while something of this process uses a cluster, and removed after that. Importing this module changes
no logger.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from aiokafka.errors import GroupCoordinatorNotAvailableError

from evkafka.kafka.client.log_throttle import EVERY_S


class RepeatedLineFilter(logging.Filter):
    """Passes a warning or error that repeats word for word once in half a minute, with the number of repetitions.

    In an outage aiokafka tries again many times a second, each time with the same line.
    """

    MAX_LINES = 200
    """How many different lines are remembered."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._passed: dict[str, tuple[float, int]] = {}  # line -> when it last passed, how often it came since

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        line, now_s = record.getMessage(), self._now()
        passed_s, held_back = self._passed.get(line, (float("-inf"), 0))
        if now_s - passed_s < EVERY_S:
            self._passed[line] = passed_s, held_back + 1
            return False
        self._passed.pop(line, None)  # so that the oldest line comes first
        self._passed[line] = now_s, 0
        if len(self._passed) > self.MAX_LINES:
            del self._passed[next(iter(self._passed))]
        if held_back:
            # The arguments stay as they are: an `AbsentTopicFilter` after this one looks at them.
            record.msg = f"{record.msg} (and {held_back} times more in the last {now_s - passed_s:.0f} s)"
        return True


class MissingCoordinatorFilter(logging.Filter):
    """Drops aiokafka's lines about a missing or dead group coordinator during the first seconds.

    A cluster's first group makes the cluster create the offsets topic. Until then, and for a second after a restart,
    there is no coordinator, or one that does not serve the group yet ("Marking the coordinator dead"). aiokafka asks
    again by itself; what lasts longer than `GRACE_S` is logged.
    """

    GRACE_S = 5.0

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._first_s = self._last_s = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        argument = record.args[0] if isinstance(record.args, tuple) and record.args else None
        is_missing = isinstance(argument, GroupCoordinatorNotAvailableError)
        if not is_missing and not str(record.msg).startswith("Marking the coordinator dead"):
            return True
        now_s = self._now()
        if now_s - self._last_s > self.GRACE_S:
            self._first_s = now_s
        self._last_s = now_s
        return now_s - self._first_s > self.GRACE_S


class AbsentTopicFilter(logging.Filter):
    """Drops the errors that aiokafka logs at each metadata update about topics whose creation we wait for."""

    LOGGERS = ("aiokafka.cluster", "aiokafka.coordinator.assignors.roundrobin")

    def __init__(self, topics: Collection[str]) -> None:
        super().__init__()
        self._topics = frozenset(topics)

    def filter(self, record: logging.LogRecord) -> bool:
        topic = record.args[0] if isinstance(record.args, tuple) and record.args else None
        return not (str(topic) in self._topics and ("not found" in record.msg or "No partition" in record.msg))


class ClientLogFilters:
    """aiokafka's log filters, installed while at least one user needs them.

    Loggers belong to the process, so all sources, sinks and admin clients share one set of filters: with a set for each
    of them, the grace periods of a missing coordinator would add up.
    """

    def __init__(self) -> None:
        repeated = RepeatedLineFilter()
        self._filters: list[tuple[str, logging.Filter]] = [
            ("aiokafka.consumer.group_coordinator", MissingCoordinatorFilter()),
            # A logger's filters do not apply to its children, so each logger gets the filter.
            *((name, repeated) for name in ("aiokafka", "aiokafka.client", "aiokafka.cluster", "aiokafka.conn")),
            ("aiokafka.consumer.fetcher", repeated),
            ("aiokafka.consumer.group_coordinator", repeated),
            ("aiokafka.producer.sender", repeated),
        ]
        self._users = 0
        self._lock = threading.Lock()  # event loops in several threads may start clients

    @contextmanager
    def installed(self, *, absent_topics: Collection[str] = ()) -> Iterator[None]:
        """Install the filters from here to the exit.

        Args:
            absent_topics: topics that are waited for: that they do not exist is not logged as an error.
        """
        absent = AbsentTopicFilter(absent_topics)
        with self._lock:
            self._users += 1
            if self._users == 1:
                for name, filter_ in self._filters:
                    logging.getLogger(name).addFilter(filter_)
            for name in absent.LOGGERS:
                logging.getLogger(name).addFilter(absent)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    for name, filter_ in self._filters:
                        logging.getLogger(name).removeFilter(filter_)
                for name in absent.LOGGERS:
                    logging.getLogger(name).removeFilter(absent)


client_log_filters = ClientLogFilters()
