"""Requests that Kafka has and the client library lacks."""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.admin import CreateTopicsRequest_v3, CreateTopicsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest_v0, HeartbeatRequest_v1
from aiokafka.protocol.types import Int16, Int32, Schema, String


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
