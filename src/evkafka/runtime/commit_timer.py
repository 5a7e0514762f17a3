"""When the periodic commit goes out: after the interval at the latest, sooner while nothing else is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from evkafka.config.settings import ConsumerSettings
from evkafka.runtime.ports import Clock, TimerHandle

EARLY = 0.1
"""While no record waits, finished work is committed after this share of the interval."""

SHORTEST_EARLY_S = 0.01
"""But not sooner than this: a member commits a hundred times a second at most, however short its interval is."""


class CommitTimer:
    """The timer of one consumer's commits.

    A crash repeats what was finished since the last commit. While records wait, commits go out on the interval, so that
    they cost next to nothing. While none waits there is time for more of them, and so less to repeat.

    It runs only while something may be uncommitted: an idle consumer has no timer.

    Args:
        records_wait: whether a record waits for an executor.
        work_runs: whether an executor has records, which may end before `note_activity` is called the next time.

    Attributes:
        due: set when a commit should go out. Others may set it too: a seek, a reset.
    """

    def __init__(
        self,
        clock: Clock,
        settings: ConsumerSettings,
        *,
        records_wait: Callable[[], bool],
        work_runs: Callable[[], bool],
    ) -> None:
        self.due = asyncio.Event()
        self._clock = clock
        self._interval_s = settings.commit_interval_s
        self._early_s = min(max(self._interval_s * EARLY, SHORTEST_EARLY_S), self._interval_s)
        if settings.transaction_settings is not None:
            self._early_s = self._interval_s  # a transaction costs several requests, and its interval is short
        self._off = settings.at_most_once  # the client, or the poller, commits
        self._records_wait = records_wait
        self._work_runs = work_runs
        self._timer: TimerHandle | None = None
        self._ends_s = 0.0  # when the interval is over
        self._noted = False

    def note_activity(self) -> None:
        """Records begin or have ended, or something else may be uncommitted."""
        if self._noted or self._off:
            return
        self._noted = True
        self._begin_interval()
        if self._timer is None:
            self.due.set()  # the interval is 0, or a commit is due already
        else:
            self._timer.cancel()
            self._schedule_check()

    def _begin_interval(self) -> None:
        if self._timer is None and self._interval_s > 0 and not self.due.is_set():
            self._ends_s = self._clock.now() + self._interval_s
            self._timer = self._clock.call_later(self._interval_s, self._set_due_or_reschedule)

    def _schedule_check(self) -> None:
        left_s = self._ends_s - self._clock.now()
        self._timer = self._clock.call_later(max(min(self._early_s, left_s), 0.0), self._set_due_or_reschedule)

    def _set_due_or_reschedule(self) -> None:
        if self._clock.now() < self._ends_s and self._records_wait():
            self._schedule_check()
        else:
            self._timer = None
            self.due.set()

    def restart(self) -> None:
        """A commit begins: it includes all that has ended so far."""
        self.stop()
        self.due.clear()
        self._noted = False
        if self._work_runs():
            # A record that ends in the middle of a lane is not noted: the interval is for those.
            self._begin_interval()

    def stop(self) -> None:
        """No commit becomes due by time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
