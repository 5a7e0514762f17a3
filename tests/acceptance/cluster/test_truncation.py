"""An unclean leader election truncates a log: the consumer notices, and continues at the first different offset."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka import EVKafkaApp, Handler
from evkafka.records import OffsetReset, TopicPartition
from evkafka.telemetry import PositionReset
from tests.support.kafka_cluster import KafkaCluster
from tests.support.processes import committed
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


class Service:
    """An app that records the values that it handled and the position resets."""

    def __init__(self, cluster: KafkaCluster, topic: str, group: str | None, **keys: Any) -> None:
        self.values: list[int] = []
        self.resets: list[OffsetReset] = []
        handler = Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            self.values.append(int(value))

        self.app = EVKafkaApp()
        config: dict[str, Any] = {
            "topics": [topic],
            "bootstrap_servers": cluster.bootstrap_servers,
            "group_id": group,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 50,
            "session_timeout_ms": 30_000,
            **keys,
        }
        self.app.add_consumer({key: value for key, value in config.items() if value is not None}, handler)  # type: ignore[arg-type]
        self.app.telemetry.listen(PositionReset, lambda event: self.resets.append(event.reset))


async def send(cluster: KafkaCluster, topic: str, numbers: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap_servers, acks="all") as producer:
        for number in numbers:
            await producer.send(topic, b"%d" % number, partition=0, headers=[("Event-Type", b"E")])
        await producer.flush()


async def truncate(cluster: KafkaCluster, topic: str) -> None:
    """Kill node 1, which has all records; node 2, which lacks the last ones, becomes the leader."""
    cluster.kill(1)
    await cluster.start(2)
    await cluster.led_by(topic, 2)


async def test_running_and_restarted_consumers_handle_all_records_after_the_truncation(
    cluster: KafkaCluster, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    await cluster.create(topic, {0: [1, 2]}, unclean_leader_election_enable="true", min_insync_replicas=1)
    services = {
        "live": Service(cluster, topic, f"{topic}-live"),
        "from the end": Service(cluster, topic, f"{topic}-latest", auto_offset_reset="latest"),
        "at most once": Service(cluster, topic, f"{topic}-pre", auto_commit_mode="pre-commit"),
        "without a group": Service(cluster, topic, None, auto_commit_mode="pre-commit"),
    }
    stopped = Service(cluster, topic, f"{topic}-away")
    await send(cluster, topic, range(100))
    async with stopped.app.running():
        async with services["from the end"].app.running():
            await eventually(lambda: services["from the end"].resets)  # it reads from the end
        cluster.kill(2)
        await send(cluster, topic, range(100, 200))
        await eventually(lambda: len(stopped.values) == 200)
    assert await committed(cluster.server(1), f"{topic}-away", topic) == {0: 200}
    caplog.set_level(logging.WARNING, "evkafka")
    async with (
        services["live"].app.running(),
        services["from the end"].app.running(),
        services["at most once"].app.running(),
        services["without a group"].app.running(),
    ):
        for service in services.values():
            await eventually(lambda service=service: service.values[-1:] == [199])
            service.resets.clear()
        await truncate(cluster, topic)
        truncated = OffsetReset(TopicPartition(topic, 0), 200, 100, "truncated")
        for name, service in services.items():
            await eventually(lambda service=service: service.resets == [truncated], what=f"{name}: the reset")
        await send(cluster, topic, range(1000, 1300))  # beyond the old positions
        for name, service in services.items():
            await eventually(lambda service=service: service.values[-1] == 1299, what=f"{name}: all records")
            assert service.values.count(1000) == 1, name
            assert service.values[-300:] == list(range(1000, 1300)), name
    assert "after it had been read up to offset 200; reading from offset 100" in caplog.text
    restarted = Service(cluster, topic, f"{topic}-away")
    async with restarted.app.running():
        await eventually(lambda: restarted.values[-1:] == [1299])
        assert restarted.values == list(range(1000, 1300))
        assert restarted.resets == [truncated]
    assert await committed(cluster.server(2), f"{topic}-away", topic) == {0: 400}
    await cluster.start(1)
    await cluster.in_sync(topic)


async def test_a_clean_change_of_leader_resets_no_position(cluster: KafkaCluster) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    await cluster.create(topic, {0: [1, 2, 3]})
    service = Service(cluster, topic, f"{topic}-g")
    async with service.app.running():
        await send(cluster, topic, range(100))
        await eventually(lambda: service.values == list(range(100)))
        service.resets.clear()
        for first, nodes in ((100, [2, 3, 1]), (200, [3, 1, 2])):
            await cluster.reassign(topic, {0: nodes})
            await cluster.elect_preferred(topic, [0])
            await cluster.led_by(topic, nodes[0])
            await send(cluster, topic, range(first, first + 100))
            await eventually(lambda first=first: service.values == list(range(first + 100)))
    restarted = Service(cluster, topic, f"{topic}-g")
    async with restarted.app.running():
        await send(cluster, topic, range(300, 301))
        await eventually(lambda: restarted.values == [300])
    assert service.resets == restarted.resets == []
