"""Requests that Kafka has and the client library lacks."""

from __future__ import annotations

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
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Int64, Schema, String

TEXT = String("utf-8")


class HeartbeatResponse_v3(Response):  # type: ignore[misc]  # noqa: N801  # the library's way of naming versions
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """KIP-345: the heartbeat of a static member, which can be answered with FENCED_INSTANCE_ID."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse_v3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class StaticHeartbeatRequest(Request[HeartbeatRequest_v0 | HeartbeatRequest_v1 | HeartbeatRequest_v3]):  # type: ignore[misc]
    """A heartbeat that says which static member it is, where the broker is new enough (2.3)."""

    API_KEY = 12

    def __init__(self, group: str, generation_id: int, member_id: str, group_instance_id: str) -> None:
        self._fields = (group, generation_id, member_id)
        self._group_instance_id = group_instance_id

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class.API_VERSION >= 3:
            return request_struct_class(*self._fields, self._group_instance_id)
        return request_struct_class(*self._fields)


class CreateTopicsResponse_v4(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 19
    API_VERSION = 4
    SCHEMA = CreateTopicsResponse_v3.SCHEMA


class CreateTopicsRequest_v4(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """KIP-464: -1 partitions and -1 replicas stand for the broker's defaults."""

    API_KEY = 19
    API_VERSION = 4
    RESPONSE_TYPE = CreateTopicsResponse_v4
    SCHEMA = CreateTopicsRequest_v3.SCHEMA


class CreateTopicsByDefaultRequest(Request[CreateTopicsRequest_v4]):  # type: ignore[misc]
    """Topics that may take the broker's defaults. Brokers before 2.4 do not know it: NotImplementedError."""

    API_KEY = 19

    def __init__(self, topics: list[tuple[Any, ...]], timeout_ms: int) -> None:
        self._topics = topics
        self._timeout_ms = timeout_ms

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(create_topic_requests=self._topics, timeout=self._timeout_ms, validate_only=False)


# ---------------------------------------------------------------------------- leader epochs (KIP-320)


class MetadataResponse_v7(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT))),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
            ),
        ),
    )

    def without_epochs(self) -> MetadataResponse_v5:
        """As the client library's cluster takes it."""
        topics = [
            (code, topic, internal, [(*one[:3], *one[4:]) for one in partitions])
            for code, topic, internal, partitions in self.topics
        ]
        return MetadataResponse_v5(self.throttle_time_ms, self.brokers, self.cluster_id, self.controller_id, topics)


class MetadataRequest_v7(RequestStruct):  # type: ignore[misc]  # noqa: N801
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


class EpochMetadataRequest(Request[AnyMetadataRequest]):  # type: ignore[misc]
    """Metadata, with each partition's leader epoch where the broker is new enough (2.1)."""

    API_KEY = 3

    def __init__(self, topics: list[str] | None, allow_auto_topic_creation: bool) -> None:
        self._plain = MetadataRequest(topics, allow_auto_topic_creation)

    def build(self, request_struct_class: Any) -> Any:
        return self._plain.build(request_struct_class)


class OffsetCommitResponse_v6(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 8
    API_VERSION = 6
    SCHEMA = OffsetCommitResponse_v3.SCHEMA


class OffsetCommitRequest_v6(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 8
    API_VERSION = 6
    RESPONSE_TYPE = OffsetCommitResponse_v6
    SCHEMA = Schema(
        ("group", TEXT),
        ("generation_id", Int32),
        ("member_id", TEXT),
        (
            "topics",
            Array(
                ("topic", TEXT),
                (
                    "partitions",
                    Array(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT)),
                ),
            ),
        ),
    )


class EpochCommitRequest(Request[OffsetCommitRequest_v2 | OffsetCommitRequest_v3 | OffsetCommitRequest_v6]):  # type: ignore[misc]
    """A commit with the leader epoch of the record before each offset, where the broker is new enough (2.1).

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


class OffsetFetchResponse_v5(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 9
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", TEXT),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", TEXT),
                        ("error_code", Int16),
                    ),
                ),
            ),
        ),
        ("error_code", Int16),
    )


class OffsetFetchRequest_v5(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 9
    API_VERSION = 5
    RESPONSE_TYPE = OffsetFetchResponse_v5
    SCHEMA = OffsetFetchRequest_v3.SCHEMA


AnyOffsetFetchRequest = OffsetFetchRequest_v1 | OffsetFetchRequest_v2 | OffsetFetchRequest_v3 | OffsetFetchRequest_v5


class EpochOffsetFetchRequest(Request[AnyOffsetFetchRequest]):  # type: ignore[misc]
    """Committed offsets, with the leader epochs beside them where the broker is new enough (2.1)."""

    API_KEY = 9

    def __init__(self, group: str, partitions: list[tuple[str, list[int]]] | None) -> None:
        self._plain = OffsetFetchRequest(group, partitions)

    def build(self, request_struct_class: Any) -> Any:
        return self._plain.build(request_struct_class)


class OffsetForLeaderEpochResponse_v3(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 23
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", TEXT),
                (
                    "partitions",
                    Array(("error_code", Int16), ("partition", Int32), ("leader_epoch", Int32), ("end_offset", Int64)),
                ),
            ),
        ),
    )


class OffsetForLeaderEpochRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 23
    API_VERSION = 3
    RESPONSE_TYPE = OffsetForLeaderEpochResponse_v3
    SCHEMA = Schema(
        ("replica_id", Int32),
        (
            "topics",
            Array(
                ("topic", TEXT),
                (
                    "partitions",
                    Array(("partition", Int32), ("current_leader_epoch", Int32), ("leader_epoch", Int32)),
                ),
            ),
        ),
    )


class OffsetForLeaderEpochRequest(Request[OffsetForLeaderEpochRequest_v3]):  # type: ignore[misc]
    """Where a leader's log ends in an epoch. Brokers before 2.3 answer it to one another only.

    Args:
        topics: (topic, rows), with rows of partition, the leader's present epoch (-1: unknown) and the epoch asked for.
    """

    API_KEY = 23

    def __init__(self, topics: list[tuple[str, list[tuple[int, int, int]]]]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(-1, self._topics)
