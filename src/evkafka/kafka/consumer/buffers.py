"""The entries of a fetcher's buffer: records, a partition that cannot be read, a position that is being verified."""

from __future__ import annotations

import time
from typing import Any

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.kafka.consumer.record_decoder import FetchedRecords
from evkafka.records import Unreadable


class Buffer(FetchedRecords):
    """Unread records of one partition of one assignment."""

    assignment: Any
    backoff_s: float
    created_at_s: float

    def calculate_backoff(self) -> float:
        """For aiokafka: how long the broker is not asked again, because these records are still unread."""
        return float(max(0.0, self.created_at_s + self.backoff_s - time.monotonic()))

    def is_current(self, tp: ClientPartition) -> bool:
        """False after a seek or a rebalance: then these records are not the next ones any more."""
        return bool(self.assignment.active and self.assignment.state_value(tp)._position == self.position)


class WithoutFetchBackoff:
    """An entry without records: for aiokafka it delays no request to the broker."""

    def calculate_backoff(self) -> float:
        return 0.0


class BlockedPartition(WithoutFetchBackoff):
    """A partition whose next record cannot be read. The partition is not fetched while this entry exists.

    Attributes:
        reported: the listener knows of it.
        left_out: a poll has left the partition out since.
    """

    def __init__(self, unreadable: Unreadable) -> None:
        self.unreadable = unreadable
        self.reported = False
        self.left_out = False


class UnverifiedPosition(WithoutFetchBackoff):
    """Replaces a partition's records until it is known whether the log still holds what was read before them.

    Attributes:
        epoch: the new leader epoch of what was fetched at the position; UNKNOWN if the leader has changed.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
