"""Pause, resume and seek of a consumer's partitions, from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from evkafka.config.arguments import is_whole_number, str_subclass_to_str
from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import ConfigError
from evkafka.records import TopicPartition
from evkafka.runtime.consumer import Consumer

T = TypeVar("T")

CALL_S = 10.0
"""How long another thread waits for the consumer's loop."""

Running = tuple[asyncio.AbstractEventLoop, Consumer]


class ConsumerControl:
    """`app.consumer("name")`: one consumer of the app, in all of the app's runs, and before the first one.

    Calls may come from any thread, also from endpoints; in another thread they wait for the consumer's loop.

    Args:
        running: gives the running consumer and its loop; None while it does not run.

    Attributes:
        name: the consumer's name.
    """

    def __init__(self, name: str, settings: ConsumerSettings, running: Callable[[], Running | None]) -> None:
        self.name = name
        self._settings = settings
        self._paused: set[TopicPartition] = set()
        self._lock = threading.Lock()
        self._running = running

    def pause(self, topic: str, partition: int) -> None:
        """Start no attempts at the partition's records until `resume`; running attempts continue.

        The partition stays paused through rebalances, also while another member has it, and when the app is started
        again. The pause is local to this process: another member that gets the partition reads it. Idempotent.

        Raises:
            ConfigError: the consumer does not read this topic, or the partition is not a whole number from 0.
        """
        tp = self._check_and_create_topic_partition(topic, partition)
        with self._lock:
            self._paused.add(tp)
        self._try_to_call_in_loop(lambda consumer: consumer.pause_partition(tp))

    def resume(self, topic: str, partition: int) -> None:
        """Undo `pause`. Idempotent.

        Raises:
            ConfigError: the consumer does not read this topic, or the partition is not a whole number from 0.
        """
        tp = self._check_and_create_topic_partition(topic, partition)
        with self._lock:
            self._paused.discard(tp)
        self._try_to_call_in_loop(lambda consumer: consumer.resume_partition(tp))

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue at this offset, before or after the current one. It is committed at once, so that it survives a
        rebalance; with `auto_commit_mode` "pre-commit" it is committed with the next records.

        Running attempts continue, but their results are ignored; records of their keys wait until they have ended. If
        the offset does not exist, `auto_offset_reset` applies.

        Raises:
            ConfigError: the consumer does not read this topic, or partition or offset is not a whole number from 0.
            NotAssigned: the partition is not assigned to this member.
            RuntimeError: the app does not run.
        """
        tp = self._check_and_create_topic_partition(topic, partition)
        if not is_whole_number(offset):
            raise ConfigError(f"an offset is a whole number of 0 or more, not {offset!r}")
        if not self._try_to_call_in_loop(lambda consumer: consumer.seek(tp, offset)):
            raise RuntimeError(
                f"consumer {self.name!r} is not running: seek works between the app's start and its stop"
            )

    @property
    def paused(self) -> frozenset[TopicPartition]:
        """The paused partitions, assigned to this member or not."""
        with self._lock:
            return frozenset(self._paused)

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are assigned to this member; none while the app does not run."""
        assigned: list[frozenset[TopicPartition]] = []
        self._try_to_call_in_loop(lambda consumer: assigned.append(consumer.assigned_partitions))
        return assigned[0] if assigned else frozenset()

    def _try_to_call_in_loop(self, call: Callable[[Consumer], Any]) -> bool:
        """Make the call in the consumer's loop, and wait for it. False if the consumer does not run."""
        running = self._running()
        if running is None:
            return False
        loop, consumer = running
        if _running_loop_or_none() is loop:
            call(consumer)
            return True

        async def call_in_loop() -> None:
            call(consumer)

        asyncio.run_coroutine_threadsafe(call_in_loop(), loop).result(CALL_S)
        return True

    def _check_and_create_topic_partition(self, topic: str, partition: int) -> TopicPartition:
        settings = self._settings
        names = [topic_settings.name for topic_settings in settings.topics]
        pattern = settings.topic_pattern
        if topic not in names and (pattern is None or not pattern.match(topic)):
            known = ", ".join(map(repr, names)) or f"topics that match {pattern.pattern if pattern else ''!r}"
            raise ConfigError(f"consumer {self.name!r} does not read topic {topic!r}; it reads {known}")
        if not is_whole_number(partition):
            raise ConfigError(f"a partition is a whole number of 0 or more, not {partition!r}")
        return TopicPartition(str_subclass_to_str(topic), partition)


def _running_loop_or_none() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
