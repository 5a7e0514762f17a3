"""Counts the open dead letters in the app's dead-letter topics, also those that other processes wrote."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from functools import partial

from evkafka.dlq import DeadLetterTopic
from evkafka.exceptions import EVKafkaError
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.dead_letter_topics import DeadLetterTopics
from evkafka.ui.models import OpenDeadLetters

logger = logging.getLogger("evkafka.web")

INTERVAL_S = 15.0
"""Time between two counts, while somebody looks at the page."""

CHANGED_INTERVAL_S = 2.0
"""Time between two counts, if this process has written, replayed or dropped dead letters since the last one."""

COUNT_TIMEOUT_S = 30.0

TOPICS_SHOWN = 100
"""So many topics are in each snapshot."""


class OpenDeadLetterCount:
    """Counts in the background, and only while somebody looks.

    Args:
        topics: the app's dead-letter topics.
        written: returns how many dead letters this process has written so far.
    """

    def __init__(
        self,
        background: BackgroundRunner,
        topics: DeadLetterTopics,
        written: Callable[[], int],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._background = background
        self._topics = topics
        self._written = written
        self._now = now
        self._started_at_s = -INTERVAL_S
        self._changed = False
        self._counting: asyncio.Task[None] | None = None
        self._counts: dict[str, tuple[object, int]] = {}  # topic -> its version, and its open dead letters
        self._logs_failure = True  # False after a failure, until a count succeeds
        self._counted: int | None = None
        self._written_at_count = 0  # `written` at the end of the last count

    def count_if_due(self) -> OpenDeadLetters:
        """Start a new count if one is due. Returns the last one, plus what this process has written since."""
        elapsed_s = self._now() - self._started_at_s
        since = self._written() - self._written_at_count
        interval_s = CHANGED_INTERVAL_S if self._changed or since else INTERVAL_S
        if (self._counting is None or self._counting.done()) and elapsed_s >= interval_s:
            self._started_at_s, self._changed = self._now(), False
            self._counting = asyncio.get_running_loop().create_task(self._count_all_topics(self._written()))
        largest = heapq.nlargest(TOPICS_SHOWN, self.counts_by_topic().items(), key=lambda one: one[1])
        return OpenDeadLetters(
            open=(self._counted or 0) + since, counted=self._counted is not None, topics=dict(largest)
        )

    def counts_by_topic(self) -> dict[str, int]:
        """The last count of each topic that has open dead letters."""
        return {name: number for name, (_, number) in self._counts.items() if number}

    def count_again_soon(self) -> None:
        """Call it when dead letters are replayed or dropped."""
        self._changed = True

    def cancel_count(self) -> None:
        if self._counting is not None:
            self._counting.cancel()

    async def _count_all_topics(self, written: int) -> None:
        """
        Args:
            written: how many dead letters this process had written when the count started.
        """
        try:
            topics = await self._topics.list_topics()
            for name, topic in topics.items():
                dead_letters = DeadLetterTopic(topic.connection, name, type_header=topic.type_header)
                count = partial(dead_letters.count_open, self._counts.get(name))
                self._counts[name] = await self._background.run(count, timeout_s=COUNT_TIMEOUT_S)
        except (EVKafkaError, TimeoutError) as error:
            if self._logs_failure:
                logger.warning("the open dead letters could not be counted; the page shows the last count: %s", error)
            self._logs_failure = False
            return
        self._logs_failure = True
        self._counted = sum(number for _, number in self._counts.values())
        self._written_at_count = self._written()
        # A dead letter that was written during the count may or may not be in it: count again soon.
        self._changed = self._changed or written != self._written_at_count
