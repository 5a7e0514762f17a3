"""Asks whether a cluster offers the consumer group protocol (KIP-848) to a group."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.client import CoordinationType
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, ResponseHeader_v0
from aiokafka.protocol.types import Int16, Int32, Schema

from evkafka.kafka.client.codec import Fields, FlexibleResponse, Items, TaggedFields, Text
from evkafka.kafka.client.group_protocol import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest,
    OfferedRequest,
)
from evkafka.kafka.errors import ErrorCode

GROUP_VERSION = "group.version"
"""The feature of a cluster that switches the protocol on, at level 1."""

TOO_OLD = "the brokers are older than Kafka 4.0"
FEATURE_OFF = (
    f"the cluster's feature {GROUP_VERSION} is 0; switch it on with `kafka-features.sh upgrade --feature"
    f" {GROUP_VERSION}=1`"
)
SWITCHED_OFF = "the brokers' setting group.coordinator.rebalance.protocols does not contain 'consumer'"

_FINALIZED_FEATURES = Items(("name", Text()), ("max_version_level", Int16), ("min_version_level", Int16))


class _FeatureLevels(AbstractType[dict[str, int]]):
    """The finalized features of an answer's tagged fields: name -> level."""

    TAG = 2

    @classmethod
    def encode(cls, value: dict[str, int]) -> bytes:
        rows = [(name, level, level) for name, level in value.items()]
        return TaggedFields.encode({cls.TAG: _FINALIZED_FEATURES.encode(rows)} if rows else {})

    @classmethod
    def decode(cls, data: BytesIO) -> dict[str, int]:
        content = TaggedFields.decode(data).get(cls.TAG)
        rows = _FINALIZED_FEATURES.decode(BytesIO(content)) if content is not None else None
        return {name: level for name, level, _ in rows or ()}


class ApiVersionsResponse_v3(FlexibleResponse):
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_keys", Items(("api_key", Int16), ("min_version", Int16), ("max_version", Int16))),
        ("throttle_time_ms", Int32),
        ("feature_levels", _FeatureLevels),
    )


class ApiVersionsRequest_v3(RequestStruct):
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = ApiVersionsResponse_v3
    FLEXIBLE_VERSION = True
    SCHEMA = Fields(("client_software_name", Text()), ("client_software_version", Text()))

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        """The header of this answer has no tagged fields, in any version: an older broker must be understood too."""
        return ResponseHeader_v0.decode(read_buffer)


class FeaturesRequest(OfferedRequest[ApiVersionsRequest_v3]):
    """Versions of all requests that a broker offers, and the levels of its cluster's features."""

    API_KEY = 18
    NEEDS = "it needs Kafka 2.4 or newer"

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class("evkafka", "1")


class ConsumerProtocolOffer(NamedTuple):
    """Whether the consumer group protocol can be used.

    Attributes:
        heartbeat_version: newest version of ConsumerGroupHeartbeat that the brokers have; None: they have none.
        group_version: level of the feature `group.version`, 0 if it is off.
        obstacle: why the protocol cannot be used, as a part of a sentence; None: it can.
    """

    heartbeat_version: int | None
    group_version: int
    obstacle: str | None


async def request_consumer_protocol_offer(client: Any, group_id: str) -> ConsumerProtocolOffer:
    """Whether the brokers, and this group's coordinator, offer the consumer group protocol.

    Raises:
        KafkaError: there was no answer, or the group must not be described.
    """
    try:
        answer = await client.send_to_any_node(FeaturesRequest())
    except kafka.IncompatibleBrokerVersion:
        return ConsumerProtocolOffer(None, 0, TOO_OLD)
    versions = {key: newest for key, _, newest in answer.api_keys}
    heartbeat = versions.get(ConsumerGroupHeartbeatRequest.API_KEY)
    level = answer.feature_levels.get(GROUP_VERSION, 0)
    if heartbeat is None:
        return ConsumerProtocolOffer(None, level, TOO_OLD)
    if level < 1:
        return ConsumerProtocolOffer(heartbeat, level, FEATURE_OFF)
    return ConsumerProtocolOffer(
        heartbeat, level, SWITCHED_OFF if await _is_refused_by_coordinator(client, group_id) else None
    )


async def _is_refused_by_coordinator(client: Any, group_id: str) -> bool:
    """Whether the coordinator refuses the protocol. Its versions and the features do not show it."""
    node = await client.coordinator_lookup(CoordinationType.GROUP, group_id)
    [group] = (await client.send(node, ConsumerGroupDescribeRequest([group_id]))).described
    match group.error_code:
        case 0 | ErrorCode.GROUP_ID_NOT_FOUND:
            return False
        case ErrorCode.UNSUPPORTED_VERSION:
            return True
        case ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise kafka.GroupAuthorizationFailedError(group_id)
        case code:
            raise kafka.for_code(code)(group_id)
