"""Which protocol a group's member uses, and whether the brokers have it."""

from __future__ import annotations

import logging
import uuid

from aiokafka import errors as kafka

from evkafka.config.settings import ConsumerSettings
from evkafka.kafka.client.client import Client
from evkafka.kafka.client.group_protocol import ConsumerGroupHeartbeatRequest
from evkafka.kafka.errors import ErrorCode

logger = logging.getLogger("evkafka.runtime.kafka")


async def uses_consumer_protocol(client: Client, settings: ConsumerSettings) -> bool:
    """Whether the member uses the consumer protocol; with `group_protocol` "auto" if the brokers have it.

    Raises:
        KafkaError: there was no answer.
    """
    if settings.group_id is None or settings.group_protocol == "classic":
        return False
    if settings.group_protocol == "consumer":
        return True
    try:
        await probe_consumer_protocol(client, settings.group_id)
    except kafka.IncompatibleBrokerVersion as error:
        logger.info(
            "group %r uses the classic protocol: the brokers do not offer the consumer protocol", settings.group_id
        )
        logger.debug("%s", error)
        return False
    except kafka.GroupAuthorizationFailedError:
        pass  # they have it; what is missing is reported later
    logger.info("group %r uses the consumer protocol", settings.group_id)
    return True


async def probe_consumer_protocol(client: Client, group_id: str) -> None:
    """Send the heartbeat of an unknown member: any broker checks the protocol and the right to READ the group before
    anything else.

    Raises:
        IncompatibleBrokerVersion: the brokers do not have the protocol, or it is switched off.
        GroupAuthorizationFailedError: the group may not be joined.
        KafkaError: there was no answer.
    """
    probe = ConsumerGroupHeartbeatRequest(group_id, str(uuid.uuid4()), 1)
    answer = await client.send(client.get_random_node(), probe)
    match answer.error_code:
        case ErrorCode.UNSUPPORTED_VERSION:
            raise kafka.IncompatibleBrokerVersion(
                "the consumer protocol is switched off on the brokers (feature group.version,"
                " group.coordinator.rebalance.protocols); set group_protocol to 'classic' or 'auto'"
            )
        case ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise kafka.GroupAuthorizationFailedError(group_id)
