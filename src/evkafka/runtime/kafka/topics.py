"""Making topics, for tests and development. The runtime itself never makes one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from evkafka.exceptions import BrokerError
from evkafka.runtime.kafka.errors import translate
from evkafka.runtime.kafka.options import connection_options
from evkafka.settings import ConnectionSettings


async def create_topic(
    connection: ConnectionSettings,
    name: str,
    *,
    partitions: int = 1,
    replicas: int = 1,
    config: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> None:
    """Make a topic, and return when the cluster has it.

    Args:
        config: the topic's own settings, under Kafka's names (`cleanup.policy`, ...).

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: it was not made (there is one of that name, for example).
    """
    doing = f"creating topic {name!r}"
    admin = AIOKafkaAdminClient(**connection_options(connection))
    try:
        async with asyncio.timeout(timeout_s):
            try:
                await admin.start()
                topic = NewTopic(name, partitions, replicas, topic_configs=dict(config or {}))
                answer = await admin.create_topics([topic])
            finally:
                await admin.close()
    except TimeoutError as error:
        raise BrokerError(f"{doing}: no answer within {timeout_s:g} s") from error
    except (KafkaError, OSError) as error:
        raise translate(error, doing) from error
    for _, code, message in answer.topic_errors:
        if code:
            raise translate(for_code(code)(message), doing)
