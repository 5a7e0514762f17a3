"""Asks whether a cluster offers the consumer group protocol (KIP-848) to a group."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.client import CoordinationType

from evkafka.kafka.client.api_versions_protocol import request_broker_features
from evkafka.kafka.client.group_protocol import ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest
from evkafka.kafka.errors import ErrorCode

GROUP_VERSION = "group.version"
"""The feature of a cluster that switches the protocol on, at level 1."""

TOO_OLD = "the brokers are older than Kafka 4.0"
FEATURE_OFF = (
    f"the cluster's feature {GROUP_VERSION} is 0; switch it on with `kafka-features.sh upgrade --feature"
    f" {GROUP_VERSION}=1`"
)
SWITCHED_OFF = "the brokers' setting group.coordinator.rebalance.protocols does not contain 'consumer'"


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
    features = await request_broker_features(client)
    if features is None:
        return ConsumerProtocolOffer(None, 0, TOO_OLD)
    heartbeat = features.newest_versions.get(ConsumerGroupHeartbeatRequest.API_KEY)
    level = features.levels.get(GROUP_VERSION, 0)
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
