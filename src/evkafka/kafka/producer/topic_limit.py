"""Asks how large a topic's batches may be."""

from __future__ import annotations

import asyncio
import logging

from aiokafka import errors as kafka
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.protocol.admin import DescribeConfigsRequest

from evkafka.kafka.client.client import Client

logger = logging.getLogger("evkafka.runtime.kafka")

LIMIT = "max.message.bytes"

ASK_S = 2.0


async def look_up_max_message_bytes(client: Client, topic: str) -> int | None:
    """The topic's `max.message.bytes`; None without the right to describe its configuration, or without an answer."""
    request = DescribeConfigsRequest([(ConfigResourceType.TOPIC, topic, [LIMIT])])
    try:
        async with asyncio.timeout(ASK_S):
            answer = await client.send(client.get_random_node(), request)
    except (kafka.KafkaError, NotImplementedError, OSError) as error:
        logger.debug("cannot look up %s of topic %r: %r", LIMIT, topic, error)
        return None
    settings = {name: value for code, _, _, _, entries in answer.resources if not code for name, value, *_ in entries}
    return int(settings[LIMIT]) if settings.get(LIMIT) else None
