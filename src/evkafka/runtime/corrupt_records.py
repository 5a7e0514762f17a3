"""Records that the client cannot read: a bad checksum, an unknown codec, a header name that is not UTF-8.

Only their address is known. Depending on the error policy the partition waits at the record, the app stops, or the
record is skipped; with `then="dead_letter"` it is skipped once a dead letter with its address is confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial

from evkafka.exceptions import StopApp
from evkafka.records import Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.backoff import exponential_delay_s
from evkafka.runtime.dead_letter_limit import DeadLetterLimit
from evkafka.runtime.interfaces import DeadLetterSink
from evkafka.runtime.partition import Partition
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.runtime.supervision.tasks import SupervisedTasks
from evkafka.telemetry import PartitionBlocked, RecordsProcessed


class CorruptRecords:
    """Handles the unreadable records of one consumer."""

    def __init__(
        self,
        assignment: Assignment,
        stop_signal: StopSignal,
        limit: DeadLetterLimit,
        dead_letters: DeadLetterSink,
        tasks: SupervisedTasks,
    ) -> None:
        self._assignment = assignment
        self._stop_signal = stop_signal
        self._limit = limit
        self._dead_letters = dead_letters
        self._tasks = tasks
        self._writing: dict[Partition, asyncio.Task[None]] = {}

    def handle(self, unreadable: Unreadable) -> None:
        """Block the partition and retry after a while; or, if the policy has a limit of attempts, do what `then`
        says."""
        assignment, tp, policy = self._assignment, unreadable.partition, self._assignment.settings.on_error
        partition, source = assignment.partitions.get(tp), assignment.source
        if partition is None or source is None or "unreadable" in assignment.flow.not_read_reasons(tp):
            return  # if it is blocked already, a poll that was running has read the record once more
        assignment.inherit_last_commit(partition)
        if partition.ledger.is_inherited(unreadable.offset):  # an earlier owner is done with it
            source.seek(tp, unreadable.next_offset)
            return
        limited = assignment.at_most_once or policy.max_attempts is not None
        if not limited:
            self._report_unreadable(unreadable, skipped=False)
            self._block_and_retry_read_later(partition)
        elif policy.then == "stop" and not assignment.at_most_once:
            self._report_unreadable(unreadable, skipped=False)
            sentence = f"{_address_text(unreadable)} cannot be read, and `then` is 'stop'"
            self._stop_signal.fail(StopApp(sentence, unreadable.error))
        elif policy.then == "skip" or assignment.at_most_once:
            self._report_unreadable(unreadable, skipped=True)
            source.seek(tp, unreadable.next_offset)
        elif self._allow_dead_letter_or_stop_app(partition, unreadable):
            self._block_partition(partition)
            task = self._tasks.start_task("unreadable", self._send_to_dead_letter(partition, unreadable), returns=True)
            self._writing[partition] = task
            task.add_done_callback(partial(self._forget_ended_dead_letter_write, partition))

    def _report_unreadable(self, unreadable: Unreadable, *, skipped: bool) -> None:
        name, tp = self._assignment.name, unreadable.partition
        event = PartitionBlocked(name, tp, unreadable.offset, unreadable.error, skipped=skipped)
        self._assignment.telemetry.emit(event)

    def cancel_dead_letters(self, going: Collection[Partition]) -> None:
        """Cancel the dead letters of these partitions, which are being revoked: the next owner handles the records."""
        for partition in going:
            if (task := self._writing.pop(partition, None)) is not None:
                self._tasks.cancel_and_allow_end(task)

    def cancel_all_dead_letters(self) -> None:
        self.cancel_dead_letters(tuple(self._writing))

    # ------------------------------------------------------------------ dead letters

    def _allow_dead_letter_or_stop_app(self, partition: Partition, unreadable: Unreadable) -> bool:
        """Whether the dead-letter limit allows it: a codec that is missing after a deploy must not turn the whole topic
        into dead letters. Stops the app if not."""
        if not self._limit.may_read_partition_else_stop_app(partition):
            return False
        why = partition.dead_letters.refusal_reason(self._assignment.settings.on_error.dead_letter_limit)
        if why is not None:
            self._stop_signal.fail(self._limit.limit_error(_address_text(unreadable), why, unreadable.error))
        return why is None

    async def _send_to_dead_letter(self, partition: Partition, unreadable: Unreadable) -> None:
        assignment, tp = self._assignment, partition.tp
        kept = await self._dead_letters.send_dead_letter_of_unreadable(unreadable)
        if assignment.partitions.get(tp) is not partition or partition.is_being_revoked or assignment.source is None:
            return  # the partition was revoked or assigned again: its next reader handles the record again
        partition.outbox.add((unreadable.offset,), kept)
        partition.dead_letters.count_unreadable()
        self._report_unreadable(unreadable, skipped=True)
        self._unblock_partition_to_retry_read(partition)
        assignment.source.seek(tp, unreadable.next_offset)
        assignment.telemetry.emit(RecordsProcessed(assignment.name, tp.topic, {("", "dead_lettered"): [0.0]}))

    def _forget_ended_dead_letter_write(self, partition: Partition, task: asyncio.Task[None]) -> None:
        if self._writing.get(partition) is task:
            del self._writing[partition]

    # ------------------------------------------------------------------ blocking the partition

    def _block_and_retry_read_later(self, partition: Partition) -> None:
        policy = self._assignment.settings.on_error
        partition.unreadable += 1
        self._block_partition(partition)
        self._assignment.clock.call_later(
            exponential_delay_s(
                partition.unreadable,
                first_s=policy.backoff_s,
                multiplier=policy.backoff_multiplier,
                most_s=policy.max_backoff_s,
                jitter=0,
                random=lambda: 0.5,
            ),
            lambda: self._unblock_partition_to_retry_read(partition),
        )

    def _block_partition(self, partition: Partition) -> None:
        self._assignment.flow.add_reason(partition.tp, "unreadable")

    def _unblock_partition_to_retry_read(self, partition: Partition) -> None:
        if self._assignment.partitions.get(partition.tp) is partition:
            self._assignment.flow.remove_reason(partition.tp, "unreadable")


def _address_text(unreadable: Unreadable) -> str:
    tp = unreadable.partition
    return f"{tp.topic}[{tp.partition}]@{unreadable.offset}"
