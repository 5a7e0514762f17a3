"""The status of an app, for tests of its dashboard."""

from __future__ import annotations

from dataclasses import replace

from evkafka.runtime.status import AppStatus, AttemptStatus, ConsumerStatus, PartitionStatus

NOW_MS = 1_700_000_000_000

_PARTITION = PartitionStatus(
    topic="orders",
    partition=0,
    position=0,
    committed=None,
    end=0,
    pending=0,
    oldest=None,
    oldest_timestamp_ms=None,
    retrying=0,
    held=False,
    paused=False,
    full=False,
)
_CONSUMER = ConsumerStatus(
    name="shop",
    group_id="shop",
    topics=("orders",),
    required=True,
    membership="steady",
    group_epoch=None,
    partitions=(),
    attempts=(),
    silent_s=0,
    joining_s=0,
    longest_poll_s=300,
    rebuilds=0,
    stopping=False,
    now_ms=NOW_MS,
)


def partition(number: int = 0, position: int = 0, end: int = 0, **fields: object) -> PartitionStatus:
    return replace(_PARTITION, partition=number, position=position, end=end, **fields)  # type: ignore[arg-type]


def retrying(number: int = 0, *, for_s: float, failed: int = 1) -> PartitionStatus:
    """A partition whose record at offset 7 waits for its next attempt."""
    return partition(number, 8, 20, oldest=7, oldest_age_s=for_s, retrying=1, failed_attempts=failed, pending=1)


def consumer(*partitions: PartitionStatus, **fields: object) -> ConsumerStatus:
    return replace(_CONSUMER, partitions=partitions, **fields)  # type: ignore[arg-type]


def status(*partitions: PartitionStatus, **fields: object) -> AppStatus:
    return AppStatus("running", consumers=(consumer(*partitions, **fields),))


def attempt(number: int = 0, offset: int = 7, attempt: int = 1) -> AttemptStatus:
    return AttemptStatus("orders", number, offset, "OrderPlaced", "shop.on_placed", attempt, age_s=0.1, overran=False)
