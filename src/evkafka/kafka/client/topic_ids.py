"""Cluster and topic ids (KIP-516): they tell a topic from a later one of the same name. The client library asks for
neither."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Collection
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.topics import administering
from evkafka.runtime.ports import TopicIds

NO_ID = uuid.UUID(int=0)


async def look_up_topic_ids(
    connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float = 10.0
) -> TopicIds:
    """The ids of a cluster and of these topics, over a connection made for it.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not say.
    """
    async with administering(connection, f"looking up the ids of topics {', '.join(sorted(topics))}", timeout_s) as one:
        return await topic_ids(one._client, topics)


async def topic_ids(client: AIOKafkaClient, topics: Collection[str]) -> TopicIds:
    """The same, over a client that is connected. Brokers before 2.8 have no topic ids, and give the cluster's alone.

    Raises:
        KafkaError: no answer.
    """
    node = client.get_random_node()
    try:
        answer = await client.send(node, TopicIdsRequest(topics))
    except NotImplementedError:
        answer = await client.send(node, MetadataRequest([], False))
        return TopicIds(getattr(answer, "cluster_id", None), {})
    found = {name: id_ for code, name, id_, *_ in answer.topics if code == 0 and id_ != NO_ID}
    return TopicIds(answer.cluster_id, {name: as_text(id_) for name, id_ in found.items()})


def as_text(id_: uuid.UUID) -> str:
    """As Kafka's own tools write it."""
    return base64.urlsafe_b64encode(id_.bytes).rstrip(b"=").decode()


# ---------------------------------------------------------------------------- on the wire


class Uuid(AbstractType):  # type: ignore[misc]  # the client library is untyped
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: Any) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))

    @classmethod
    def repr(cls, value: uuid.UUID) -> str:
        return str(value)


_TEXT = CompactString("utf-8")
_NUMBERS = CompactArray(Int32)
_TAGS = ("tags", TaggedFields)


class MetadataResponse_v11(Response):  # type: ignore[misc]  # noqa: N801  # the library's way of naming versions
    API_KEY = 3
    API_VERSION = 11
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", _NUMBERS),
                        ("isr", _NUMBERS),
                        ("offline_replicas", _NUMBERS),
                        _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class MetadataRequest_v11(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 11
    RESPONSE_TYPE = MetadataResponse_v11
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("topic", _TEXT), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class MetadataResponse_v12(Response):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = MetadataResponse_v11.SCHEMA


class MetadataRequest_v12(RequestStruct):  # type: ignore[misc]  # noqa: N801
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = MetadataResponse_v12
    FLEXIBLE_VERSION = True
    SCHEMA = MetadataRequest_v11.SCHEMA


class TopicIdsRequest(Request[MetadataRequest_v11 | MetadataRequest_v12]):  # type: ignore[misc]
    """Metadata of these topics, by name; nothing is created. Older brokers do not know it: NotImplementedError."""

    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([(NO_ID, name, {}) for name in sorted(self._topics)], False, False, {})
