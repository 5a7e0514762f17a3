"""Interfaces between the parts of one consumer: what executors and pending writes depend on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from evkafka.outcomes import Failed, Outcome, Unmatched
from evkafka.records import Record, Unreadable
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import Clock, OutgoingRecord, Route, Slot, WriteFailed
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic, Verdict
from evkafka.runtime.supervision.tasks import SupervisedTasks


class DeadLetterSink(Protocol):
    """Writes records that failed for good, or that are tried again later. At most once it may raise `WriteGivenUp`.

    Each call returns what it has not written, because the transaction that commits the record is to write it (exactly
    once).
    """

    async def send_to_retry_topic(
        self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed
    ) -> Sequence[OutgoingRecord]:
        """Write the record to its retry topic and wait for the confirmation; try again until it is written."""

    async def send_to_dead_letter(
        self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed
    ) -> Sequence[OutgoingRecord]:
        """Write the dead letter and wait for its confirmation; try again until it is written."""

    async def send_dead_letter_of_unreadable(self, unreadable: Unreadable) -> Sequence[OutgoingRecord]:
        """The same for a record that the client cannot read: the dead letter has its address, and no value."""


DecideFor = Callable[[str, "Route | None", "Outcome | Unmatched | Failed | None", int], Verdict]
"""The verdict for the topic that a record was read from, its endpoint, its attempt's outcome and number."""


@dataclass(frozen=True, slots=True)
class ConsumerServices:
    """What the executors and the pending writes of one consumer share.

    Attributes:
        resume_reading_and_flush_reports_soon: called when a record has ended, and when an executor leaves its lane.
        close_partition_after_failed_record: called with a partition of which no more record may begin, and the records
            whose attempts stop the app.
        fail: called with the error that fails the consumer, or stops the app.
    """

    scheduler: LaneScheduler
    report: TelemetryReporter
    clock: Clock
    tasks: SupervisedTasks
    resume_reading_and_flush_reports_soon: Callable[[], object]
    close_partition_after_failed_record: Callable[[Partition, Collection[Record]], object]
    fail: Callable[[BaseException], object]

    def close_partition_and_report_failed(
        self, partition: Partition, slot: Slot, failed: Collection[Record], duration_s: float
    ) -> None:
        """An attempt fails the consumer: no later record of its partition begins.

        Args:
            failed: the records of the attempt, if it stops the app.
            duration_s: how long it took.
        """
        self.close_partition_after_failed_record(partition, failed)
        for record in failed:
            self.report.report_finished(slot, record, "failed", duration_s / len(failed))


@dataclass(slots=True)
class WatchdogRounds:
    """When the watchdog last looked: an attempt during which it never looked has blocked the event loop."""

    at_s: float = 0.0
