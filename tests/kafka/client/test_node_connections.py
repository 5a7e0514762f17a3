"""A silent node accepts connections and answers nothing. It does not block requests to other nodes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import errors as kafka
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import BrokerMetadata

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.client import connection, node_connections, preflight
from evkafka.kafka.client.client import Client
from evkafka.kafka.options import connection_options
from tests.support.proxy import FIND_COORDINATOR, HEARTBEAT, METADATA, PRODUCE, Proxy
from tests.support.waiting import eventually

HEALTHY, SILENT = 1, 9
PROMPTLY_S = 5.0


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the checks for progress to a tenth of a second."""
    monkeypatch.setattr(node_connections, "PROGRESS_CHECK_S", 0.1)
    monkeypatch.setattr(connection, "PROGRESS_CHECK_S", 0.1)


async def _client(servers: str) -> Client:
    settings = ConnectionSettings(bootstrap_servers=(servers,))
    client = Client(allow_auto_create_topics=False, answer_within_s={}, **connection_options(settings))
    await client.bootstrap()
    return client


@pytest.fixture
async def client(kafka_broker: KafkaBroker, proxy: Proxy) -> AsyncIterator[Client]:
    """A client that knows two nodes: the real one, and one behind the proxy."""
    client = await _client(kafka_broker.bootstrap_servers)
    host, port = proxy.bootstrap_servers.split(":")
    client.cluster._brokers[SILENT] = BrokerMetadata(SILENT, host, int(port), None)
    yield client
    await client.close()


@pytest.fixture
def silent_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random orders begin with the silent node."""
    monkeypatch.setattr(random, "shuffle", lambda nodes: nodes.sort(key=lambda node: node != SILENT))


class TestConnecting:
    async def test_does_not_block_connections_to_other_nodes(self, client: Client, proxy: Proxy) -> None:
        await proxy.set("blackhole")
        connecting = asyncio.ensure_future(client._get_conn(SILENT))
        await asyncio.sleep(0)
        async with asyncio.timeout(PROMPTLY_S):
            conn = await client._get_conn(HEALTHY)
        assert conn.usable
        assert not connecting.done()
        connecting.cancel()

    async def test_is_aborted_when_the_cluster_has_removed_the_node(self, client: Client, proxy: Proxy) -> None:
        await proxy.set("blackhole")
        async with asyncio.timeout(PROMPTLY_S):  # less than the time limit of a connection
            assert await client._get_conn(SILENT) is None

    async def test_tries_the_next_server_while_the_first_is_slow(
        self, kafka_broker: KafkaBroker, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(preflight, "NEXT_SERVER_S", 0.05)
        await proxy.set("blackhole")
        servers = (proxy.bootstrap_servers, kafka_broker.bootstrap_servers)
        async with asyncio.timeout(PROMPTLY_S):
            found = await preflight.find_reachable_server(ConnectionSettings(bootstrap_servers=servers), timeout_s=60)
        assert found == ("127.0.0.1", kafka_broker.port)


@pytest.mark.usefixtures("silent_first")
class TestRequestsThatAnyNodeCanAnswer:
    async def test_a_coordinator_lookup_goes_to_another_node_after_a_moment(self, client: Client, proxy: Proxy) -> None:
        await proxy.set("blackhole")
        async with asyncio.timeout(PROMPTLY_S):
            assert await client.coordinator_lookup(CoordinationType.GROUP, "any") == HEALTHY

    async def test_a_metadata_request_goes_to_another_node_after_a_moment(self, client: Client, proxy: Proxy) -> None:
        await proxy.set("blackhole")
        async with asyncio.timeout(PROMPTLY_S):
            assert await client._metadata_update(client.cluster, [])

    async def test_a_silent_node_is_asked_last(self, client: Client, proxy: Proxy) -> None:
        assert client.get_random_node() == SILENT
        proxy.on(FIND_COORDINATOR, hold=True)
        await client.coordinator_lookup(CoordinationType.GROUP, "any")
        assert client.get_random_node() == HEALTHY

    async def test_the_only_node_has_the_full_time(self, proxy: Proxy) -> None:
        client = await _client(proxy.bootstrap_servers)
        try:
            proxy.on(METADATA, delay_s=0.5)
            assert await client._metadata_update(client.cluster, [])
        finally:
            await client.close()


class TestAPendingWrite:
    async def test_does_not_delay_metadata_requests(self, proxy: Proxy) -> None:
        client = await _client(proxy.bootstrap_servers)
        blocked: Any = proxy.on(PRODUCE, hold=True)
        try:
            writing = asyncio.ensure_future(client.send(HEALTHY, ProduceRequest(None, -1, 1000, [("t", [(0, b"")])])))
            await blocked.seen.wait()
            async with asyncio.timeout(PROMPTLY_S):
                assert await client._metadata_update(client.cluster, [])
            assert not writing.done()
            blocked.release.set()
            await writing
        finally:
            await client.close()


class TestRequestsToOneNode:
    async def test_are_aborted_when_the_cluster_has_removed_it(self, client: Client, proxy: Proxy) -> None:
        proxy.on(HEARTBEAT, hold=True)
        async with asyncio.timeout(PROMPTLY_S):
            with pytest.raises(kafka.KafkaConnectionError):
                await client.send(SILENT, HeartbeatRequest("any", -1, ""))
        assert SILENT not in {node for node, _ in client._conns}

    async def test_wait_while_it_is_one_of_the_brokers(self, proxy: Proxy) -> None:
        client = await _client(proxy.bootstrap_servers)
        blocked: Any = proxy.on(HEARTBEAT, hold=True)
        try:
            answering = asyncio.ensure_future(
                client.send(HEALTHY, HeartbeatRequest("any", -1, ""), group=ConnectionGroup.COORDINATION)
            )
            await blocked.seen.wait()
            asked = proxy.requests.count(METADATA)
            await eventually(lambda: proxy.requests.count(METADATA) > asked, what="another look at the metadata")
            assert not answering.done()
            blocked.release.set()
            assert (await answering).error_code
        finally:
            await client.close()
