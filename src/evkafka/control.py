"""A consumer in the hands of its users: pause, resume and seek, from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from evkafka.config.arguments import is_whole_number
from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import ConfigError
from evkafka.records import TopicPartition
from evkafka.runtime.consumer import Consumer

T = TypeVar("T")

CALL_S = 10.0

Running = tuple[asyncio.AbstractEventLoop, Consumer]


class ConsumerControl:
    """`app.consumer("name")`: one consumer of the app, before it runs, while it runs, and when it runs again.

    Calls may come from any thread, endpoints' included; out of another thread they wait for the consumer's loop.

    Args:
        running: the consumer that runs now, and its loop; None while none does.

    Attributes:
        name: the consumer's.
    """

    def __init__(self, name: str, settings: ConsumerSettings, running: Callable[[], Running | None]) -> None:
        self.name = name
        self._settings = settings
        self._paused: set[TopicPartition] = set()
        self._lock = threading.Lock()
        self._running = running

    def pause(self, topic: str, partition: int) -> None:
        """Begin none of the partition's records until `resume`; what is under way runs on.

        It stays paused through rebalances, also while another member has it, and when the app is started again. The
        pause is this process's: another member that gets the partition reads it. Idempotent.

        Raises:
            ConfigError: the consumer does not read this topic, or it is no partition's number.
        """
        tp = self._partition(topic, partition)
        with self._lock:
            self._paused.add(tp)
        self._call(lambda consumer: consumer.pause(tp))

    def resume(self, topic: str, partition: int) -> None:
        """Undo `pause`. Idempotent.

        Raises:
            ConfigError: the consumer does not read this topic, or it is no partition's number.
        """
        tp = self._partition(topic, partition)
        with self._lock:
            self._paused.discard(tp)
        self._call(lambda consumer: consumer.resume(tp))

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Go on at this offset, back or forth; it is committed at once, so that it stands through a rebalance.

        What is under way runs on, and counts for nothing; a record of the same key waits for its end. Pre-commit, the
        offset is committed with the next records. An offset that does not exist is reset by `auto_offset_reset`.

        Raises:
            ConfigError: the consumer does not read this topic, or it is no partition's number, or no offset.
            NotAssigned: the partition is not this member's now.
            RuntimeError: the app does not run.
        """
        tp = self._partition(topic, partition)
        if not is_whole_number(offset):
            raise ConfigError(f"an offset is a whole number from 0, not {offset!r}")
        if not self._call(lambda consumer: consumer.seek(tp, offset)):
            raise RuntimeError(f"consumer {self.name!r} does not run: seek works between the app's start and its stop")

    @property
    def paused(self) -> frozenset[TopicPartition]:
        """The partitions that are paused, whoever has them."""
        with self._lock:
            return frozenset(self._paused)

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are this member's now; none while the app does not run."""
        found: list[frozenset[TopicPartition]] = []
        self._call(lambda consumer: found.append(consumer.assigned))
        return found[0] if found else frozenset()

    # ------------------------------------------------------------------ small things

    def _call(self, call: Callable[[Consumer], Any]) -> bool:
        """Make the call in the consumer's loop, and wait for it. False where the consumer does not run."""
        running = self._running()
        if running is None:
            return False
        loop, consumer = running
        if _running_loop() is loop:
            call(consumer)
            return True

        async def there() -> None:
            call(consumer)

        asyncio.run_coroutine_threadsafe(there(), loop).result(CALL_S)
        return True

    def _partition(self, topic: str, partition: int) -> TopicPartition:
        settings = self._settings
        names = [one.name for one in settings.topics]
        pattern = settings.topic_pattern
        if topic not in names and (pattern is None or not pattern.match(topic)):
            known = ", ".join(map(repr, names)) or f"what matches {pattern.pattern if pattern else ''!r}"
            raise ConfigError(f"consumer {self.name!r} does not read topic {topic!r}; it reads {known}")
        if not is_whole_number(partition):
            raise ConfigError(f"a partition is a whole number from 0, not {partition!r}")
        return TopicPartition(topic, partition)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
