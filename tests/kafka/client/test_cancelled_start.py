"""Clients whose start is cancelled while they wait for an answer leave no connection open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from evkafka.broker import KafkaBroker
from evkafka.config import producer_settings
from evkafka.kafka.admin.reader import Reader
from evkafka.kafka.client.client import NodeConnections, admin_client
from evkafka.kafka.options import connection_options


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[AIOKafkaConnection]:
    """Connections that wait for the answer to a metadata request, which never comes."""
    waiting: asyncio.Queue[AIOKafkaConnection] = asyncio.Queue()
    send = AIOKafkaConnection.send

    def unanswered(self: AIOKafkaConnection, request: Any, *more: Any, **named: Any) -> Any:
        if not isinstance(request, MetadataRequest):
            return send(self, request, *more, **named)
        waiting.put_nowait(self)
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(AIOKafkaConnection, "send", unanswered)
    return waiting


@pytest.mark.parametrize("kind", ["admin", "reader", "client"])
async def test_a_cancelled_start_leaves_no_connection_open(
    kind: str, kafka_broker: KafkaBroker, asked: asyncio.Queue[AIOKafkaConnection]
) -> None:
    connection = producer_settings({"bootstrap_servers": kafka_broker.bootstrap_servers}).connection
    match kind:
        case "admin":
            admin = admin_client(connection)
            start, close = admin.start, admin.close
        case "reader":
            reader = Reader(connection)
            start, close = reader.start, reader.stop
        case _:
            client = NodeConnections(**connection_options(connection))
            start, close = client.bootstrap, client.close
    starting = asyncio.ensure_future(start())
    conn = await asyncio.wait_for(asked.get(), 60)
    assert conn.connected()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await close()
    assert not conn.connected()
