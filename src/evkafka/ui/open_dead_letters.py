"""How many dead letters are open, by their topics: whoever wrote them, and whenever the process was started."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from evkafka.dlq import DeadLetterReplay
from evkafka.exceptions import EVKafkaError
from evkafka.ui.app_view import OperatedApp
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.dead_letter_topics import dead_letter_topics
from evkafka.ui.models import OpenLetters

logger = logging.getLogger("evkafka.web")

EACH_S = 15.0
"""While somebody looks, the topics are asked so often whether they have changed."""

SOON_S = 2.0
"""So soon after the last count, if this process has written, replayed or dropped letters meanwhile."""

COUNT_S = 30.0


class OpenDeadLetterCount:
    """Counts apart from the app's loop, when somebody looks.

    Args:
        written: how many dead letters this process has written so far.
    """

    def __init__(
        self,
        app: OperatedApp,
        apart: BackgroundRunner,
        written: Callable[[], int],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._apart = apart
        self._written = written
        self._now = now
        self._began_at_s = -EACH_S
        self._is_stale = False
        self._counting: asyncio.Task[None] | None = None
        self._known: dict[str, tuple[object, int]] = {}  # topic -> its version, and how many of its letters are open
        self._says_why = True
        self._counted: int | None = None
        self._written_then = 0  # when that count ended

    def look(self) -> OpenLetters:
        """How many are open: as last counted, and those that this process has written since. Counts again if that is
        due."""
        waited_s = self._now() - self._began_at_s
        since = self._written() - self._written_then
        if (self._counting is None or self._counting.done()) and waited_s >= (
            SOON_S if self._is_stale or since else EACH_S
        ):
            self._began_at_s, self._is_stale = self._now(), False
            self._counting = asyncio.get_running_loop().create_task(self._count(self._written()))
        return OpenLetters(open=(self._counted or 0) + since, counted=self._counted is not None)

    def note_change(self) -> None:
        """Letters were replayed or dropped."""
        self._is_stale = True

    def end(self) -> None:
        if self._counting is not None:
            self._counting.cancel()

    async def _count(self, written: int) -> None:
        """Args:
        written: how many letters this process had written when the count began.
        """
        try:
            places = await self._apart.run(lambda: dead_letter_topics(self._app), timeout_s=COUNT_S)
            for topic, place in places.items():
                desk, before = (
                    DeadLetterReplay(place.connection, topic, type_header=place.type_header),
                    self._known.get(topic),
                )
                self._known[topic] = await self._apart.run(
                    lambda desk=desk, before=before: desk.count_open(before),  # type: ignore[misc]
                    timeout_s=COUNT_S,
                )
        except (EVKafkaError, TimeoutError) as error:
            if self._says_why:
                logger.warning("the open dead letters could not be counted; the page shows the last count: %s", error)
            self._says_why = False
            return
        self._says_why = True
        self._counted = sum(number for _, number in self._known.values())
        self._written_then = self._written()
        # A letter that was written meanwhile may have been counted or not.
        self._is_stale = self._is_stale or written != self._written_then
