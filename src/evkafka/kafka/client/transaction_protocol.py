"""Requests of transactions that aiokafka does not have, or has only in a version without fencing.

Everything here is offered by Kafka 2.5 and newer. TxnOffsetCommit names the member that the offsets are of, so that a
member that the group has removed commits nothing (KIP-447). InitProducerId names the producer that asks, so that it
does not fence another one that has taken over its transactional id (KIP-360). OffsetFetch waits for open transactions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.types import Boolean, Int16, Int32, Int64

from evkafka.kafka.client.codec import Fields, FlexibleResponse
from evkafka.kafka.client.group_protocol import OfferedRequest
from evkafka.kafka.client.offset_protocol import (
    COMMITTED,
    NAME,
    PARTITIONS,
    TEXT,
    TEXT_OR_NULL,
    MemberIdentity,
    OffsetRow,
    error_codes_schema,
    offsets_to_commit_schema,
)

NEEDS = "exactly-once needs Kafka 2.5 or newer; set auto_commit_mode to 'post-commit'"


class ProducerId(NamedTuple):
    """A producer as the brokers know it. A higher epoch of the same id fences it."""

    number: int
    epoch: int


NO_PRODUCER = ProducerId(-1, -1)
"""For a producer that has no id yet."""


class InitProducerIdResponse_v3(FlexibleResponse):
    API_KEY = 22
    API_VERSION = 3
    SCHEMA = Fields(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
    )


class InitProducerIdResponse_v4(InitProducerIdResponse_v3):
    API_VERSION = 4


class InitProducerIdRequest_v3(RequestStruct):
    API_KEY = 22
    API_VERSION = 3
    RESPONSE_TYPE = InitProducerIdResponse_v3
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(
        ("transactional_id", TEXT_OR_NULL),
        ("transaction_timeout_ms", Int32),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
    )


class InitProducerIdRequest_v4(RequestStruct):
    """Its answer tells a fenced producer from one whose transaction has timed out."""

    API_KEY = 22
    API_VERSION = 4
    RESPONSE_TYPE = InitProducerIdResponse_v4
    FLEXIBLE_VERSION = True
    SCHEMA = InitProducerIdRequest_v3.SCHEMA


class InitTransactionsRequest(OfferedRequest[InitProducerIdRequest_v3 | InitProducerIdRequest_v4]):
    """Ends an open transaction of this transactional id, and returns an epoch that fences its earlier producers.

    Args:
        producer: the producer that asks. If it is no longer the newest one, the answer is an error; with `NO_PRODUCER`
            the newest one is fenced, whoever it is.
    """

    API_KEY = 22
    NEEDS = NEEDS

    def __init__(self, transactional_id: str, timeout_ms: int, producer: ProducerId = NO_PRODUCER) -> None:
        self._fields = (transactional_id, timeout_ms, *producer)

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields)


# ---------------------------------------------------------------------------- offsets


class TxnOffsetCommitResponse_v3(FlexibleResponse):
    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Fields(
        ("throttle_time_ms", Int32),
        ("topics", error_codes_schema(NAME)),
    )
    topics: list[tuple[str, list[tuple[int, int]]]]


class TxnOffsetCommitRequest_v3(RequestStruct):
    API_KEY = 28
    API_VERSION = 3
    RESPONSE_TYPE = TxnOffsetCommitResponse_v3
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(
        ("transactional_id", TEXT),
        ("group_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT_OR_NULL),
        ("topics", offsets_to_commit_schema(NAME)),
    )


class MemberTxnOffsetCommitRequest(OfferedRequest[TxnOffsetCommitRequest_v3]):
    """Adds offsets to a transaction, as a member of their group (aiokafka-defects.md#transaction-members). They are
    committed if the transaction is."""

    API_KEY = 28
    NEEDS = NEEDS

    def __init__(
        self,
        transactional_id: str,
        producer: ProducerId,
        member: MemberIdentity,
        topics: Collection[tuple[str, Collection[OffsetRow]]],
    ) -> None:
        self._fields = (transactional_id, member.group_id, *producer, *member[1:])
        self._topics = [(topic, list(rows)) for topic, rows in topics]

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields, self._topics)


class OffsetFetchResponse_v7(FlexibleResponse):
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Fields(
        ("throttle_time_ms", Int32),
        ("topics", COMMITTED),
        ("error_code", Int16),
    )


class OffsetFetchRequest_v7(RequestStruct):
    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = OffsetFetchResponse_v7
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(
        ("group_id", TEXT),
        ("topics", PARTITIONS),
        ("require_stable", Boolean),
    )


class StableOffsetFetchRequest(OfferedRequest[OffsetFetchRequest_v7]):
    """Committed offsets. One that an open transaction may change is UNSTABLE_OFFSET_COMMIT, not an old offset
    (aiokafka-defects.md#unstable-offsets)."""

    API_KEY = 9
    NEEDS = NEEDS

    def __init__(self, group: str, partitions: Collection[tuple[str, Collection[int]]]) -> None:
        self._fields = group, [(topic, sorted(numbers)) for topic, numbers in partitions], True

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields)
