"""How records that were read get into their lanes."""

from __future__ import annotations

from collections.abc import Sequence

from evkafka.records import Record
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.dead_letters.retry_topics import RetryTopics
from evkafka.runtime.delayed_records import DelayedRecords
from evkafka.runtime.partition import Partition


class Intake:
    """The way into the lanes of one consumer.

    Args:
        retry_topics: the retry topics that the consumer reads; None if it reads none.
    """

    def __init__(self, assignment: Assignment, retry_topics: RetryTopics | None) -> None:
        self._assignment = assignment
        self._delayed = (
            DelayedRecords(assignment, retry_topics, self._add_to_lanes) if retry_topics is not None else None
        )

    @property
    def places_records_at_once(self) -> bool:
        """Whether records are placed into their lanes at once; those of retry topics wait until they are due."""
        return self._delayed is None

    def place_records_when_due(self, partition: Partition, records: Sequence[Record]) -> None:
        """Put these records into their lanes: those of a retry topic when they are due, others at once."""
        if self._delayed is not None:
            self._delayed.keep_until_due(partition, records)
        else:
            self._add_to_lanes(partition, records)

    def restore_if_from_retry_topic(self, record: Record) -> Record:
        """The record as it is in its lane."""
        return self._delayed.parse_retry_topic_record(record) if self._delayed is not None else record

    def _add_to_lanes(self, partition: Partition, records: Sequence[Record]) -> None:
        assignment, tp = self._assignment, partition.tp
        assert assignment.source is not None
        assignment.taken += len(records)
        assignment.commit_timer.note_activity()  # the end of a record in the middle of a lane may not be noted
        assignment.scheduler.add_records(partition, records, assignment.source.position(tp))
        assignment.flow.stop_reading_partition_if_full(partition)
        if assignment.flow.is_partition_full(tp) or assignment.next_poll_max_records() == 0:
            assignment.scheduler.end_batch_waits(partition)
