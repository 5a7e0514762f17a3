"""Records that the client itself cannot read: a bad checksum, an unknown codec, a header's name that is not UTF-8.

Nothing can be made of them but their address. By the policy the partition waits there, or the app stops, or it goes on
behind them; with `dead_letter` it goes on once a letter that names the address is confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial

from evkafka.records import Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.backoff import exponential
from evkafka.runtime.dead_letter_limit import DeadLetterLimit
from evkafka.runtime.dead_letters.rate import RESET_DEAD_LETTER_LIMIT
from evkafka.runtime.interfaces import DeadLetterSink
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import RecordSource
from evkafka.runtime.settle import StopApp
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.runtime.supervision.tasks import SupervisedTasks
from evkafka.telemetry import PartitionBlocked, RecordsProcessed


class CorruptRecords:
    """One consumer's."""

    def __init__(
        self,
        held: Assignment,
        ending: StopSignal,
        limit: DeadLetterLimit,
        letters: DeadLetterSink,
        tasks: SupervisedTasks,
    ) -> None:
        self._held = held
        self._ending = ending
        self._limit = limit
        self._letters = letters
        self._tasks = tasks
        self._writing: dict[Partition, asyncio.Task[None]] = {}

    def handle(self, unreadable: Unreadable) -> None:
        """Hold back the partition and try again after a while, or go on behind it where the policy has an end."""
        held, tp, policy = self._held, unreadable.partition, self._held.settings.on_error
        partition, source = held.partitions.get(tp), held.source
        if partition is None or source is None or partition.held:
            return  # held: a poll under way meets it once more
        ends = held.at_most_once or policy.max_attempts is not None
        if not ends:
            self._tell(unreadable, skipped=False)
            self._hold_back(partition)
        elif policy.then == "stop" and not held.at_most_once:
            self._tell(unreadable, skipped=False)
            self._ending.fail(StopApp(f"{_address(unreadable)} cannot be read, and `then` says stop", unreadable.error))
        elif policy.then == "skip" or held.at_most_once:
            self._tell(unreadable, skipped=True)
            source.seek(tp, unreadable.next_offset)
        elif self._may_be_buried(source, partition, unreadable):
            self._close(partition)
            task = self._tasks.start("unreadable", self._bury(partition, unreadable), returns=True)
            self._writing[partition] = task
            task.add_done_callback(partial(self._written, partition))

    def _tell(self, unreadable: Unreadable, *, skipped: bool) -> None:
        held = self._held
        held.telemetry.emit(
            PartitionBlocked(held.name, unreadable.partition, unreadable.offset, unreadable.error, skipped=skipped)
        )

    def release(self, going: Collection[Partition]) -> None:
        """These are given back: the next owner meets it again."""
        for partition in going:
            if (task := self._writing.pop(partition, None)) is not None:
                self._tasks.cancel(task)

    def stop(self) -> None:
        self.release(tuple(self._writing))

    # ------------------------------------------------------------------ going on behind it

    def _may_be_buried(self, source: RecordSource, partition: Partition, unreadable: Unreadable) -> bool:
        """A codec that is missing after a deploy must not empty the topic into the dead letters either."""
        if not self._limit.allows(source, partition):
            return False
        why = partition.reached(self._held.settings.on_error.dead_letter_limit)
        if why is not None:
            self._ending.fail(
                StopApp(
                    f"{_address(unreadable)} stops the app, uncommitted: {why} (`dead_letter_limit`);"
                    f" {RESET_DEAD_LETTER_LIMIT}",
                    unreadable.error,
                )
            )
        return why is None

    async def _bury(self, partition: Partition, unreadable: Unreadable) -> None:
        held, tp = self._held, partition.tp
        await self._letters.send_unreadable(unreadable)
        if held.partitions.get(tp) is not partition or partition.leaving or held.source is None:
            return  # another epoch's: who reads it now meets it again
        partition.count_unreadable()
        self._tell(unreadable, skipped=True)
        self._open(partition)
        held.source.seek(tp, unreadable.next_offset)
        held.telemetry.emit(RecordsProcessed(held.name, tp.topic, {("", "dead_lettered"): [0.0]}))

    def _written(self, partition: Partition, task: asyncio.Task[None]) -> None:
        if self._writing.get(partition) is task:
            del self._writing[partition]

    # ------------------------------------------------------------------ waiting there

    def _hold_back(self, partition: Partition) -> None:
        policy = self._held.settings.on_error
        partition.unreadable += 1
        self._close(partition)
        self._held.clock.call_later(
            exponential(
                partition.unreadable,
                first_s=policy.backoff_s,
                multiplier=policy.backoff_multiplier,
                most_s=policy.max_backoff_s,
                jitter=0,
                random=lambda: 0.5,
            ),
            lambda: self._open(partition),
        )

    def _close(self, partition: Partition) -> None:
        partition.held = True
        self._held.flow.close(partition.tp, "unreadable")

    def _open(self, partition: Partition) -> None:
        partition.held = False
        if self._held.partitions.get(partition.tp) is partition:
            self._held.flow.open(partition.tp, "unreadable")


def _address(unreadable: Unreadable) -> str:
    tp = unreadable.partition
    return f"{tp.topic}[{tp.partition}]@{unreadable.offset}"
