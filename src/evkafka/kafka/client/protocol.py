"""Requests and schemas of the Kafka protocol that aiokafka does not have."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from aiokafka.protocol.admin import CreateTopicsRequest_v3, CreateTopicsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import (
    OffsetCommitRequest,
    OffsetCommitRequest_v2,
    OffsetCommitRequest_v3,
    OffsetCommitResponse_v3,
    OffsetFetchRequest,
    OffsetFetchRequest_v1,
    OffsetFetchRequest_v2,
    OffsetFetchRequest_v3,
)
from aiokafka.protocol.group import HeartbeatRequest_v0, HeartbeatRequest_v1
from aiokafka.protocol.metadata import (
    MetadataRequest,
    MetadataRequest_v0,
    MetadataRequest_v1,
    MetadataRequest_v2,
    MetadataRequest_v3,
    MetadataRequest_v4,
    MetadataRequest_v5,
    MetadataResponse_v5,
)
from aiokafka.protocol.types import (
    Array,
    Boolean,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
)

from evkafka.kafka.client.codec import Fields, FlexibleResponse, Items, Text, Uuid

TEXT = String("utf-8")

NO_TOPIC_ID = uuid.UUID(int=0)


def _topics_field(*row: tuple[str, Any]) -> tuple[str, Any]:
    """The field `topics`: an array of topics, each with an array of these fields of a partition."""
    return "topics", Array(("topic", TEXT), ("partitions", Array(*row)))


class HeartbeatResponse_v3(Response):
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequest_v3(RequestStruct):
    """The heartbeat of a static member (KIP-345). The broker can answer it with FENCED_INSTANCE_ID."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse_v3
    SCHEMA = Schema(
        ("group", TEXT),
        ("generation_id", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT),
    )


class StaticHeartbeatRequest(Request[HeartbeatRequest_v0 | HeartbeatRequest_v1 | HeartbeatRequest_v3]):
    """A heartbeat with the group_instance_id, if the broker is 2.3 or newer."""

    API_KEY = 12

    def __init__(self, group: str, generation_id: int, member_id: str, group_instance_id: str) -> None:
        self._fields = (group, generation_id, member_id)
        self._group_instance_id = group_instance_id

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class.API_VERSION >= 3:
            return request_struct_class(*self._fields, self._group_instance_id)
        return request_struct_class(*self._fields)


class CreateTopicsResponse_v4(Response):
    API_KEY = 19
    API_VERSION = 4
    SCHEMA = CreateTopicsResponse_v3.SCHEMA


class CreateTopicsRequest_v4(RequestStruct):
    """KIP-464: -1 partitions or -1 replicas means the broker's default."""

    API_KEY = 19
    API_VERSION = 4
    RESPONSE_TYPE = CreateTopicsResponse_v4
    SCHEMA = CreateTopicsRequest_v3.SCHEMA


class CreateTopicsByDefaultRequest(Request[CreateTopicsRequest_v4]):
    """Creates topics with the broker's defaults. Brokers before 2.4 do not support it: NotImplementedError."""

    API_KEY = 19

    def __init__(self, topics: list[tuple[Any, ...]], timeout_ms: int) -> None:
        self._topics = topics
        self._timeout_ms = timeout_ms

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(create_topic_requests=self._topics, timeout=self._timeout_ms, validate_only=False)


# ---------------------------------------------------------------------------- metadata


def _metadata_response_schema(version: int) -> Schema:
    """The fields of a metadata answer. Version 11 is flexible (KIP-482), and has topic ids."""
    flexible = version >= 11
    struct, array, text, text_or_null = (
        (Fields, Items, Text(), Text(nullable=True)) if flexible else (Schema, Array, TEXT, TEXT)
    )
    partition = [
        ("error_code", Int16),
        ("partition", Int32),
        ("leader", Int32),
        ("leader_epoch", Int32),
        ("replicas", array(Int32)),
        ("isr", array(Int32)),
        ("offline_replicas", array(Int32)),
    ]
    topic = [
        ("error_code", Int16),
        ("topic", text),
        *([("topic_id", Uuid)] if flexible else []),
        ("is_internal", Boolean),
        ("partitions", array(*partition)),
        *([("authorized_operations", Int32)] if flexible else []),
    ]
    return struct(
        ("throttle_time_ms", Int32),
        ("brokers", array(("node_id", Int32), ("host", text), ("port", Int32), ("rack", text_or_null))),
        ("cluster_id", text_or_null),
        ("controller_id", Int32),
        ("topics", array(*topic)),
    )


# ---------------------------------------------------------------------------- leader epochs (KIP-320)


class MetadataResponse_v7(Response):
    API_KEY = 3
    API_VERSION = 7
    SCHEMA = _metadata_response_schema(version=7)

    def without_epochs(self) -> MetadataResponse_v5:
        """Convert to version 5, which aiokafka's cluster metadata can read."""
        topics = [
            (code, topic, internal, [(*one[:3], *one[4:]) for one in partitions])
            for code, topic, internal, partitions in self.topics
        ]
        return MetadataResponse_v5(self.throttle_time_ms, self.brokers, self.cluster_id, self.controller_id, topics)


class MetadataRequest_v7(RequestStruct):
    API_KEY = 3
    API_VERSION = 7
    RESPONSE_TYPE = MetadataResponse_v7
    SCHEMA = MetadataRequest_v5.SCHEMA


AnyMetadataRequest = (
    MetadataRequest_v0
    | MetadataRequest_v1
    | MetadataRequest_v2
    | MetadataRequest_v3
    | MetadataRequest_v4
    | MetadataRequest_v5
    | MetadataRequest_v7
)


class MetadataWithEpochsRequest(Request[AnyMetadataRequest]):
    """Metadata, with each partition's leader epoch if the broker is 2.1 or newer."""

    API_KEY = 3

    def __init__(self, topics: list[str] | None, allow_auto_topic_creation: bool) -> None:
        self._plain = MetadataRequest(topics, allow_auto_topic_creation)

    def build(self, request_struct_class: Any) -> Any:
        return self._plain.build(request_struct_class)


class OffsetCommitResponse_v6(Response):
    API_KEY = 8
    API_VERSION = 6
    SCHEMA = OffsetCommitResponse_v3.SCHEMA


class OffsetCommitRequest_v6(RequestStruct):
    API_KEY = 8
    API_VERSION = 6
    RESPONSE_TYPE = OffsetCommitResponse_v6
    SCHEMA = Schema(
        ("group", TEXT),
        ("generation_id", Int32),
        ("member_id", TEXT),
        _topics_field(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT)),
    )


class OffsetCommitWithEpochsRequest(Request[OffsetCommitRequest_v2 | OffsetCommitRequest_v3 | OffsetCommitRequest_v6]):
    """A commit with the leader epoch of the record before each offset, if the broker is 2.1 or newer.

    Args:
        topics: (topic, rows), with rows of partition, offset, leader epoch (-1: unknown) and metadata.
    """

    API_KEY = 8

    def __init__(
        self, group: str, generation_id: int, member_id: str, topics: list[tuple[str, list[tuple[int, int, int, str]]]]
    ) -> None:
        self._member = (group, generation_id, member_id)
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class.API_VERSION >= 6:
            return request_struct_class(*self._member, self._topics)
        plain = [(topic, [(number, offset, text) for number, offset, _, text in rows]) for topic, rows in self._topics]
        return request_struct_class(*self._member, OffsetCommitRequest.DEFAULT_RETENTION_TIME, plain)


class OffsetFetchResponse_v5(Response):
    API_KEY = 9
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _topics_field(
            ("partition", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", TEXT),
            ("error_code", Int16),
        ),
        ("error_code", Int16),
    )


class OffsetFetchRequest_v5(RequestStruct):
    API_KEY = 9
    API_VERSION = 5
    RESPONSE_TYPE = OffsetFetchResponse_v5
    SCHEMA = OffsetFetchRequest_v3.SCHEMA


AnyOffsetFetchRequest = OffsetFetchRequest_v1 | OffsetFetchRequest_v2 | OffsetFetchRequest_v3 | OffsetFetchRequest_v5


class OffsetFetchWithEpochsRequest(Request[AnyOffsetFetchRequest]):
    """Committed offsets, with their leader epochs if the broker is 2.1 or newer."""

    API_KEY = 9

    def __init__(self, group: str, partitions: list[tuple[str, list[int]]] | None) -> None:
        self._plain = OffsetFetchRequest(group, partitions)

    def build(self, request_struct_class: Any) -> Any:
        return self._plain.build(request_struct_class)


class OffsetForLeaderEpochResponse_v3(Response):
    API_KEY = 23
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _topics_field(("error_code", Int16), ("partition", Int32), ("leader_epoch", Int32), ("end_offset", Int64)),
    )


class OffsetForLeaderEpochRequest_v3(RequestStruct):
    API_KEY = 23
    API_VERSION = 3
    RESPONSE_TYPE = OffsetForLeaderEpochResponse_v3
    SCHEMA = Schema(
        ("replica_id", Int32),
        _topics_field(("partition", Int32), ("current_leader_epoch", Int32), ("leader_epoch", Int32)),
    )


class OffsetForLeaderEpochRequest(Request[OffsetForLeaderEpochRequest_v3]):
    """Asks where a leader's log ends in an epoch. Brokers before 2.3 answer it only to other brokers.

    Args:
        topics: (topic, rows), with rows of partition, current epoch of the leader (-1: unknown), epoch asked about.
    """

    API_KEY = 23

    def __init__(self, topics: list[tuple[str, list[tuple[int, int, int]]]]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(-1, self._topics)


# ---------------------------------------------------------------------------- topic ids (KIP-516)


class MetadataResponse_v11(FlexibleResponse):
    API_KEY = 3
    API_VERSION = 11
    SCHEMA = _metadata_response_schema(version=11)


class MetadataRequest_v11(RequestStruct):
    API_KEY = 3
    API_VERSION = 11
    RESPONSE_TYPE = MetadataResponse_v11
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(
        ("topics", Items(("topic_id", Uuid), ("topic", Text(nullable=True)), nullable=True)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class TopicIdsByNameRequest(Request[MetadataRequest_v11]):
    """Metadata of these topics by name; creates none. Brokers before 2.8 do not support it: NotImplementedError."""

    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([(NO_TOPIC_ID, name) for name in sorted(self._topics)], False, False)
