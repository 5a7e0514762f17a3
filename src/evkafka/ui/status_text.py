"""Describes the states of consumers and partitions in words. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from evkafka.runtime.status import ConsumerStatus, PartitionStatus, TransactionStatus
from evkafka.ui.models import Kind

RETRYING_S = 10.0
"""A partition is shown as retrying once its oldest record fails for so long. Shorter retries are ordinary."""

STUCK_S = 300.0
"""A partition whose oldest record fails for so long is stuck."""

Label = tuple[str, Kind]
"""The name of a state, and how it is shown."""

CANNOT_READ: Label = ("Cannot read", "bad")
CANNOT_WRITE: Label = ("Cannot write", "bad")
STUCK: Label = ("Stuck", "bad")
RETRYING: Label = ("Retrying", "warn")
PAUSED: Label = ("Paused", "warn")


def consumer_state(consumer: ConsumerStatus, *, ended: bool) -> Label:
    if ended:
        return "Ended", "bad"
    if consumer.stopping:
        return "Stopping", ""
    match consumer.membership:
        case "none":
            return "No connection", "bad"
        case "lost":
            return "The brokers do not answer", "bad"
        case "connecting":
            return "Connecting", "warn"
        case "joining":
            return "Rebalancing", "warn"
        case _:
            return _running_state(consumer.partitions, oldest_record_failures_by_partition(consumer))


def oldest_record_failures_by_partition(consumer: ConsumerStatus) -> dict[tuple[str, int], int]:
    """How often the oldest record of each partition has failed, while it waits and while it is tried again."""
    running = {(one.topic, one.partition, one.offset): one.attempt - 1 for one in consumer.attempts}
    return {
        (one.topic, one.partition): running.get((one.topic, one.partition, one.oldest or 0), one.failed_attempts)
        for one in consumer.partitions
    }


def _running_state(partitions: tuple[PartitionStatus, ...], failed: Mapping[tuple[str, int], int]) -> Label:
    if not partitions:
        return "Standing by", ""
    labels = [
        _partition_state_label(partition, failed[partition.topic, partition.partition]) for partition in partitions
    ]
    for worst in (CANNOT_READ, STUCK, CANNOT_WRITE, RETRYING, PAUSED):
        if worst in labels:
            return worst
    return ("Reading", "good") if any(partition.lag for partition in partitions) else ("Up to date", "good")


def partition_state_and_reasons(partition: PartitionStatus, failed: int) -> tuple[str, Kind, str]:
    """The state, how it is shown, and all reasons for it. `failed` are the attempts at its oldest record."""
    label = _partition_state_label(partition, failed)
    why = []
    if partition.held:
        why.append(f"the client cannot read offset {partition.position}")
    if partition.paused:
        why.append("no records are handled until it is resumed")
    if label in (RETRYING, STUCK):
        why.append(
            f"offset {partition.oldest} has been unfinished for {duration_text(partition.oldest_age_s or 0)}, after"
            f" {plural(failed, 'failed attempt')}"
        )
    if "schema" in partition.blocked_by:
        why.append(f"offset {partition.oldest} waits for the schema of its value")
    if partition.unwritten:
        first = partition.unwritten[0]
        why.append(
            f"offset {first.offset} could not be written to {first.topic} for {duration_text(first.age_s)}:"
            f" {first.error}"
        )
    if partition.full:
        why.append(f"{partition.pending} records are unfinished: more are read when some of them have finished")
    if partition.metadata_full:
        why.append(
            f"the {partition.done_ahead:,} offsets finished after offset {partition.oldest} do not fit into the"
            f" metadata of a commit: more are read when some records in between have finished"
        )
    if (alone := partition.one_at_a_time) is not None:
        why.append(f"records are handled one at a time, because {alone.reason}")
    if partition.offset_count_after_open_transaction:
        why.append(
            f"a transaction is open at offset {partition.end}: records up to offset {partition.high_watermark} are read"
            " when it ends"
        )
    if partition.due_in_s is not None:
        why.append(f"its next record is due in {duration_text(partition.due_in_s)}")
    return *label, "; ".join(why)


def _partition_state_label(partition: PartitionStatus, failed: int) -> Label:
    failing_s = partition.oldest_age_s or 0.0 if failed else 0.0
    if partition.held:
        return CANNOT_READ
    if partition.paused:
        return PAUSED
    if failing_s >= STUCK_S:
        return STUCK
    if partition.unwritten:
        return CANNOT_WRITE
    if failing_s >= RETRYING_S:
        return RETRYING
    if "schema" in partition.blocked_by and (partition.oldest_age_s or 0.0) >= RETRYING_S:
        return "Waiting for a schema", "warn"
    if partition.full or partition.metadata_full:
        return "Full", "warn"
    if partition.one_at_a_time is not None:
        return "One at a time", "warn"
    if partition.due_in_s is not None:
        return "Waiting", ""
    return "Reading", "good"


def transactions_text(status: TransactionStatus) -> str:
    """What an exactly-once consumer has sent and not written yet, and the transaction under way."""
    kept = f"exactly once: {plural(status.kept_records, 'kept record')} ({status.kept_bytes / 1024:,.0f} KiB)"
    if status.open_records is None:
        return kept
    return f"{kept}, a transaction of {status.open_records:,} open for {status.open_s:.1f} s"


def duration_text(seconds: float) -> str:
    """A duration in at most two units: `45 s`, `5 min 3 s`, `2 h 10 min`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
