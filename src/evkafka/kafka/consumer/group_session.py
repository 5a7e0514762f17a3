"""Asks how long a group waits for a heartbeat. The protocol does not tell its members."""

from __future__ import annotations

import asyncio
import logging

from aiokafka import errors as kafka
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.admin import DescribeConfigsRequest

from evkafka.kafka.client.client import Client

logger = logging.getLogger("evkafka.runtime.kafka")

DEFAULT_SESSION_S = 45.0
"""The brokers' default of `group.consumer.session.timeout.ms`."""

ASK_S = 5.0

BROKER, GROUP = 4, 32
"""Types of resources that have a configuration."""


async def look_up_group_session_s(client: Client, node_id: int, group_id: str) -> float:
    """The group's `consumer.session.timeout.ms`, else the broker's, in seconds.

    Without the right to describe configurations, or without an answer, it is the brokers' default.

    Args:
        node_id: the group's coordinator.
    """
    wanted = [
        (GROUP, group_id, ["consumer.session.timeout.ms"]),
        (BROKER, str(node_id), ["group.consumer.session.timeout.ms"]),
    ]
    for resource in wanted:
        try:
            async with asyncio.timeout(ASK_S):
                answer = await client.send(
                    node_id, DescribeConfigsRequest([resource]), group=ConnectionGroup.COORDINATION
                )
        except (kafka.KafkaError, NotImplementedError, OSError) as error:
            logger.debug("cannot look up the session timeout of group %r: %r", group_id, error)
            return DEFAULT_SESSION_S
        for code, _, _, _, entries in answer.resources:
            for name, value, *_ in entries if not code else ():
                if name.endswith("consumer.session.timeout.ms") and value:
                    return int(value) / 1000
    return DEFAULT_SESSION_S
