"""Reads the answer to an OffsetFetch, of any version."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.kafka.consumer.leader_epochs import EpochOffset
from evkafka.kafka.errors import ErrorCode, code_name
from evkafka.runtime.leader_epochs import UNKNOWN


class UnstableOffsetError(kafka.KafkaError):
    """The committed offset cannot be told yet: a transaction may change it."""

    retriable = True


class StaleMemberError(kafka.KafkaError):
    """The member's epoch has changed, and its heartbeat does not know that yet."""

    retriable = True


def error_for_code(code: int, subject: str) -> kafka.KafkaError:
    """The error of an answer; one that aiokafka has no name for has Kafka's name in its text."""
    if code == ErrorCode.UNSTABLE_OFFSET_COMMIT:
        return UnstableOffsetError(f"{code_name(code)}: a transaction that commits offsets is open")
    kind = kafka.for_code(code)
    return kind(code_name(code) if kind is kafka.UnknownError else subject)


def read_committed_offsets(
    topics: Any,
    partitions: Collection[ClientPartition] | None,
    looked_up_commits: dict[ClientPartition, tuple[int, str]],
) -> dict[ClientPartition, EpochOffset]:
    """The committed offsets with their leader epochs. A partition without a committed offset is left out.

    Only an offset of -1 counts as "no commit".

    Args:
        topics: (topic, rows), with rows of partition, offset, leader epoch (newer versions), metadata and error code.
        partitions: those that were asked for; None for all.
        looked_up_commits: updated with what was found, with its metadata.

    Raises:
        KafkaError: any error in the answer.
    """
    found: dict[ClientPartition, EpochOffset] = {}
    for topic, rows in topics:
        for partition, offset, *epoch, metadata, code in rows:
            if code:
                raise error_for_code(code, topic)
            tp = ClientPartition(topic, partition)
            found[tp] = EpochOffset(offset, *(epoch or (UNKNOWN,)))
            looked_up_commits.pop(tp, None)
            if offset >= 0:
                looked_up_commits[tp] = (offset, metadata or "")
    if partitions is not None and (missing := set(partitions) - set(found)):
        raise kafka.KafkaProtocolError(f"the response lacks {sorted(missing)}")
    return {tp: committed for tp, committed in found.items() if committed.offset >= 0}
