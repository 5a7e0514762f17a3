"""If a real broker is killed, the app is unready but live, and ready again when the broker is back."""

from __future__ import annotations

import asyncio

import pytest

from evkafka import EVKafkaApp, Sender
from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.topics import create_topic
from tests.support.http_client import get
from tests.support.waiting import eventually
from tests.web.apps import handling

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


async def test_a_killed_broker_makes_it_unready_and_never_dead() -> None:
    async with KafkaBroker() as broker:
        connection = {"bootstrap_servers": broker.bootstrap_servers}
        await create_topic(ConnectionSettings(bootstrap_servers=(broker.bootstrap_servers,)), "orders")
        app = EVKafkaApp(web=True, web_port=0)
        app.add_consumer(
            {
                "topics": ["orders"],
                "group_id": "billing",
                "session_timeout_ms": 1_000,
                "heartbeat_interval_ms": 300,
                **connection,
            },
            handling(),
            name="billing",
        )
        app.add_producer({"topic": "orders", **connection}, Sender(), name="invoices")

        async def code(path: str) -> int:
            return (await get(app.web_url, path)).code

        async def is_ready() -> bool:
            return await code("readyz") == 200

        async def is_known_to_be_away() -> bool:
            told = (await get(app.web_url, "readyz?verbose")).json()
            return bool(told["consumers"]["billing"]["reasons"] and told["producers"]["invoices"]["reasons"])

        async with app.running():
            await eventually(is_ready)
            await asyncio.to_thread(broker.kill)
            await eventually(is_known_to_be_away)
            assert await code("readyz") == 503
            assert await code("livez") == 200
            await asyncio.to_thread(broker.start)
            await eventually(is_ready)
            assert await code("livez") == 200
