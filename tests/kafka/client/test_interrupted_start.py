"""A server that stops after it has accepted the first connection: the start waits for it, as for one that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.config import producer_settings
from evkafka.kafka.admin.topic_ids import look_up_topic_ids
from evkafka.kafka.client import preflight
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic, read_committed
from tests.support.proxy import METADATA, Proxy, Rule
from tests.support.waiting import eventually


@pytest.fixture
def interruption(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Rule]:
    """Closes the connections of the next two requests for metadata, once a client has connected."""
    rules: list[Rule] = []
    check_login = preflight.check_login

    async def interrupted(*args: Any, **named: Any) -> None:
        await check_login(*args, **named)
        if not rules:
            rules.append(proxy.on(METADATA, cut="before", count=2))

    monkeypatch.setattr(preflight, "check_login", interrupted)
    return lambda: rules[0]


@pytest.mark.parametrize("mode", ["post-commit", "exactly-once"])
async def test_a_consumer_connects_again(
    proxy: Proxy, topic: MakeTopic, name: str, read: Read, interruption: Callable[[], Rule], mode: str
) -> None:
    reader = await read(proxy.bootstrap_servers, await topic(), name, auto_commit_mode=mode)

    assert interruption().hits == 2
    await eventually(lambda: reader.source.state() == "steady")


async def test_a_producer_connects_again(
    kafka_broker: KafkaBroker, proxy: Proxy, topic: MakeTopic, interruption: Callable[[], Rule]
) -> None:
    orders = await topic()

    async with EVKafkaProducer({"bootstrap_servers": proxy.bootstrap_servers, "topic": orders}) as producer:
        await producer.send_event({}, "X")

    assert interruption().hits == 2
    assert [record.value for record in await read_committed(kafka_broker.bootstrap_servers, orders)] == [b"{}"]


async def test_ids_are_asked_for_again(proxy: Proxy, topic: MakeTopic, interruption: Callable[[], Rule]) -> None:
    orders = await topic()
    connection = producer_settings({"bootstrap_servers": proxy.bootstrap_servers}).connection

    ids = await look_up_topic_ids(connection, [orders], timeout_s=30)

    assert interruption().hits == 2
    assert ids.topics[orders]
