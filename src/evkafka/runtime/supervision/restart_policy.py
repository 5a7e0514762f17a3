"""When a failed consumer is restarted, and after which wait."""

from __future__ import annotations

import random as _random
from collections import deque
from collections.abc import Callable

from evkafka.exceptions import BrokerUnavailable, CommitUnknown
from evkafka.runtime.backoff import exponential_delay_s
from evkafka.runtime.ports import OutputRefused
from evkafka.runtime.supervision.stop_signal import ENDS_APP
from evkafka.runtime.supervision.tasks import TaskEnded

REBUILDS = 5
WITHIN_S = 600.0


class RestartPolicy:
    """After a lost connection, a transaction that could not be written, or a task that was cancelled from outside:
    always. If the cluster refuses the client, or a record stops the app: never. After any other failure: five times in
    ten minutes."""

    def __init__(self, now: Callable[[], float], random: Callable[[], float] = _random.random) -> None:
        self._now = now
        self._random = random
        self._rebuilds: deque[float] = deque()
        self._in_a_row = 0

    def note_recovered(self) -> None:
        """A source has connected: the next wait is short again."""
        self._in_a_row = 0

    def advance_backoff_s(self, error: BaseException) -> float | None:
        """Count this failure; returns how long to wait before the restart, or None if the app must end."""
        match error:
            case _ if isinstance(error, ENDS_APP):
                return None
            case BrokerUnavailable() | CommitUnknown() | OutputRefused() | TaskEnded():
                most_s = 10.0
            case _:
                now_s = self._now()
                while self._rebuilds and now_s - self._rebuilds[0] > WITHIN_S:
                    self._rebuilds.popleft()
                if len(self._rebuilds) >= REBUILDS:
                    return None
                self._rebuilds.append(now_s)
                most_s = 30.0
        self._in_a_row += 1
        return exponential_delay_s(
            self._in_a_row, first_s=0.5, multiplier=2.0, most_s=most_s, jitter=0.2, random=self._random
        )
