"""Carries out the verdict on a record that is not tried again here.

Executors do so after an attempt, and `SuspectRecords` for a record whose last attempt has ended its process.
"""

from __future__ import annotations

from evkafka.exceptions import StopApp
from evkafka.outcomes import Failed, FailureOutcome, Skip
from evkafka.records import Record
from evkafka.runtime.interfaces import ConsumerServices
from evkafka.runtime.kept_sends import take_outputs
from evkafka.runtime.partition import Lane
from evkafka.runtime.pending_writes import PendingWrites
from evkafka.runtime.ports import Slot
from evkafka.runtime.settle import Finish, SendToDeadLetter, SendToRetryTopic, StopConsuming, address_of


class LastAttempts:
    """The records of one consumer whose last attempt here has ended."""

    def __init__(self, services: ConsumerServices, writes: PendingWrites) -> None:
        self._report = services.report
        self._writes = writes

    def settle(
        self,
        lane: Lane,
        record: Record,
        slot: Slot,
        outcome: FailureOutcome | None,
        verdict: Finish | SendToRetryTopic | SendToDeadLetter | StopConsuming,
        duration_s: float,
    ) -> bool:
        """Carry out the verdict. False if the run of the lane must end.

        Args:
            lane: the record's, which the caller runs.

        Raises:
            StopApp: the record stops the app.
        """
        match verdict:
            case Finish(status=status):
                if isinstance(outcome, Failed):
                    self._report.report_failed(slot, record, outcome, verdict)
                elif isinstance(outcome, Skip):
                    self._report.report_skipped(slot, record, outcome)
                return self._finish_record(lane, record, slot, status, duration_s)
            case SendToRetryTopic() | SendToDeadLetter():
                self._writes.begin_write(lane, record, slot, outcome, verdict, duration_s)
                return False
            case StopConsuming(reason=reason, error=error):
                self._report.report_failed(slot, record, outcome, verdict)
                raise StopApp(f"{address_of(record)} stops the app: {reason}", error)

    def _finish_record(self, lane: Lane, record: Record, slot: Slot, status: str, duration_s: float) -> bool:
        sent = take_outputs(slot) if status != "failed" else ()
        if not lane.partition.finish(record.offset, sent):
            # The partition was revoked meanwhile: this result is too late to count.
            self._report.report_dropped(slot.route, record)
            return False
        self._report.report_finished(slot, record, status, duration_s)
        return True
