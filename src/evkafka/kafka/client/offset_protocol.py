"""Requests about the committed offsets of a group's members, in versions that aiokafka does not have."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Self

from aiokafka import errors as kafka
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.types import Boolean, Int16, Int32, Int64

from evkafka.kafka.client.codec import Fields, FlexibleResponse, Items, Text, Uuid
from evkafka.kafka.client.group_protocol import ConsumerGroupHeartbeatRequest, OfferedRequest

TEXT, TEXT_OR_NULL = Text(), Text(nullable=True)

NAME = ("name", TEXT)

NO_EPOCH = -1
"""The member epoch of a request from outside of the group."""


# ---------------------------------------------------------------------------- what several requests have

PARTITIONS = Items(NAME, ("partition_indexes", Items(Int32)), nullable=True)
"""The partitions that a request asks for, by topic; null for all."""

COMMITTED = Items(
    NAME,
    (
        "partitions",
        Items(
            ("partition_index", Int32),
            ("committed_offset", Int64),
            ("committed_leader_epoch", Int32),
            ("metadata", TEXT_OR_NULL),
            ("error_code", Int16),
        ),
    ),
)
"""Committed offsets, by topic."""


def offsets_to_commit_schema(topic: tuple[str, Any]) -> Items:
    """Offsets to be committed, by topic."""
    rows = Items(
        ("partition_index", Int32),
        ("committed_offset", Int64),
        ("committed_leader_epoch", Int32),
        ("committed_metadata", TEXT_OR_NULL),
    )
    return Items(topic, ("partitions", rows))


def error_codes_schema(topic: tuple[str, Any]) -> Items:
    """The error code of each offset that was to be committed, by topic."""
    return Items(topic, ("partitions", Items(("partition_index", Int32), ("error_code", Int16))))


OffsetRow = tuple[int, int, int, str]
"""Partition, offset, leader epoch of the record before it (-1: unknown), metadata."""


class MemberIdentity(NamedTuple):
    """The member that commits offsets.

    Attributes:
        generation: the member epoch, or with the classic protocol the generation, that it has the partitions under.
    """

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None = None


# ---------------------------------------------------------------------------- requests


class OffsetFetchResponse_v9(FlexibleResponse):
    """The answer for one group.

    Attributes:
        topics: (topic, rows), with rows of partition, offset, leader epoch, metadata and error code.
        error_code: of the whole answer: STALE_MEMBER_EPOCH, UNKNOWN_MEMBER_ID, NOT_COORDINATOR, ...
    """

    API_KEY = 9
    API_VERSION = 9
    SCHEMA = Fields(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Items(
                ("group_id", TEXT),
                ("topics", COMMITTED),
                ("error_code", Int16),
            ),
        ),
    )
    groups: list[Any]

    @classmethod
    def decode(cls, data: Any) -> Self:
        answer = super().decode(data)
        if len(answer.groups) != 1:
            raise kafka.KafkaProtocolError(f"{cls.__name__} is malformed: {len(answer.groups)} groups instead of one")
        return answer

    @property
    def topics(self) -> list[tuple[str, list[tuple[int, int, int, str | None, int]]]]:
        [(_, topics, _)] = self.groups
        return list(topics)

    @property
    def error_code(self) -> int:
        [(_, _, code)] = self.groups
        return int(code)


class OffsetFetchRequest_v9(RequestStruct):
    API_KEY = 9
    API_VERSION = 9
    RESPONSE_TYPE = OffsetFetchResponse_v9
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(
        (
            "groups",
            Items(
                ("group_id", TEXT),
                ("member_id", TEXT_OR_NULL),
                ("member_epoch", Int32),
                ("topics", PARTITIONS),
            ),
        ),
        ("require_stable", Boolean),
    )


class MemberOffsetFetchRequest(OfferedRequest[OffsetFetchRequest_v9]):
    """Committed offsets, looked up by a member of the consumer protocol.

    Args:
        partitions: (topic, partitions); None: all that the group has committed.
        member_id, member_epoch: by default the request comes from outside of the group, and no member is checked.
        require_stable: whether an offset that an open transaction may change is UNSTABLE_OFFSET_COMMIT.
    """

    API_KEY = 9
    NEEDS = ConsumerGroupHeartbeatRequest.NEEDS

    def __init__(
        self,
        group_id: str,
        partitions: Collection[tuple[str, Collection[int]]] | None,
        *,
        member_id: str | None = None,
        member_epoch: int = NO_EPOCH,
        require_stable: bool = True,
    ) -> None:
        topics = None if partitions is None else [(topic, sorted(numbers)) for topic, numbers in partitions]
        self._fields = [(group_id, member_id, member_epoch, topics)], require_stable

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields)


def _commit_response_schema_with_topic_field(topic: tuple[str, Any]) -> Fields:
    return Fields(("throttle_time_ms", Int32), ("topics", error_codes_schema(topic)))


def _commit_request_schema_with_topic_field(topic: tuple[str, Any]) -> Fields:
    return Fields(
        ("group_id", TEXT),
        ("generation_id_or_member_epoch", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT_OR_NULL),
        ("topics", offsets_to_commit_schema(topic)),
    )


class OffsetCommitResponse_v9(FlexibleResponse):
    API_KEY = 8
    API_VERSION = 9
    SCHEMA = _commit_response_schema_with_topic_field(("name", TEXT))


class OffsetCommitResponse_v10(FlexibleResponse):
    API_KEY = 8
    API_VERSION = 10
    SCHEMA = _commit_response_schema_with_topic_field(("topic_id", Uuid))


class OffsetCommitRequest_v9(RequestStruct):
    API_KEY = 8
    API_VERSION = 9
    RESPONSE_TYPE = OffsetCommitResponse_v9
    FLEXIBLE_VERSION = True
    SCHEMA = _commit_request_schema_with_topic_field(("name", TEXT))


class OffsetCommitRequest_v10(RequestStruct):
    """Topics by id: an offset of a deleted topic is not committed for a new one of the same name."""

    API_KEY = 8
    API_VERSION = 10
    RESPONSE_TYPE = OffsetCommitResponse_v10
    FLEXIBLE_VERSION = True
    SCHEMA = _commit_request_schema_with_topic_field(("topic_id", Uuid))


class MemberCommitRequest(OfferedRequest[OffsetCommitRequest_v9 | OffsetCommitRequest_v10]):
    """A commit of a member of the consumer protocol. Topics go by id if the broker is 4.1 or newer.

    The answer has `topics`: (topic or topic id, rows), with rows of partition and error code.

    Args:
        topics: (topic, rows).
        topic_ids: the ids of these topics. If one is missing, topics go by name.
    """

    API_KEY = 8
    NEEDS = ConsumerGroupHeartbeatRequest.NEEDS

    def __init__(
        self,
        member: MemberIdentity,
        topics: Collection[tuple[str, Collection[OffsetRow]]],
        topic_ids: Mapping[str, uuid.UUID],
    ) -> None:
        self._member = member
        self._topics = topics
        self._topic_ids = topic_ids

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Any:
        """The newest version that both sides have, and whose topics can be named."""
        if any(topic not in self._topic_ids for topic, _ in self._topics) and self.API_KEY in versions:
            least, most = versions[self.API_KEY]
            versions = {**versions, self.API_KEY: (least, min(most, OffsetCommitRequest_v9.API_VERSION))}
        return super().prepare(versions)

    def build(self, request_struct_class: Any) -> Any:
        by_id = request_struct_class.API_VERSION >= OffsetCommitRequest_v10.API_VERSION
        topics = [(self._topic_ids[topic] if by_id else topic, list(rows)) for topic, rows in self._topics]
        return request_struct_class(*self._member, topics)
