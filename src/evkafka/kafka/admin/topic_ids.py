"""Looks up cluster and topic ids (KIP-516): a topic id differs from that of a later topic of the same name."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerUnavailable
from evkafka.kafka.admin.session import admin_session
from evkafka.kafka.client.preflight import RETRY_S
from evkafka.kafka.client.topic_ids import request_topic_ids
from evkafka.runtime.ports import TopicIds


async def look_up_topic_ids(
    connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float = 10.0
) -> TopicIds:
    """The ids of a cluster and of these topics. Brokers before 2.8 have no topic ids and return only the cluster id.

    Raises:
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    doing = f"looking up the ids of topics {', '.join(sorted(topics))}" if topics else "looking up the cluster's id"
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while True:
        try:
            async with admin_session(connection, doing, deadline_s - loop.time()) as admin:
                return await request_topic_ids(admin.client, topics)
        except BrokerUnavailable:  # the server that was reached has stopped since
            if loop.time() + RETRY_S >= deadline_s:
                raise
        await asyncio.sleep(RETRY_S)
