"""A server that stops after it has accepted the first connection: the start waits for it, as for one that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evkafka.config import producer_settings
from evkafka.kafka.admin.topic_ids import look_up_topic_ids
from evkafka.kafka.client import preflight
from evkafka.kafka.consumer.source import KafkaSource
from tests.support.kafka_reader import Listener, consumer_settings
from tests.support.kafka_topics import MakeTopic
from tests.support.proxy import METADATA, Proxy, Rule


@pytest.fixture
def interruption(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Rule]:
    """Closes the connections of the next two requests for metadata, once a client has connected."""
    rules: list[Rule] = []
    try_login = preflight.try_login

    async def interrupted(*args: Any, **named: Any) -> None:
        await try_login(*args, **named)
        if not rules:
            rules.append(proxy.on(METADATA, cut="before", count=2))

    monkeypatch.setattr(preflight, "try_login", interrupted)
    return lambda: rules[0]


async def test_an_exactly_once_consumer_connects_again(
    proxy: Proxy, topic: MakeTopic, name: str, interruption: Callable[[], Rule]
) -> None:
    settings = consumer_settings(proxy.bootstrap_servers, await topic(), name, auto_commit_mode="exactly-once")
    source = KafkaSource(settings)

    await source.start(Listener())

    assert interruption().hits == 2
    await source.stop(timeout_s=5)


async def test_ids_are_asked_for_again(proxy: Proxy, topic: MakeTopic, interruption: Callable[[], Rule]) -> None:
    orders = await topic()
    connection = producer_settings({"bootstrap_servers": proxy.bootstrap_servers}).connection

    ids = await look_up_topic_ids(connection, [orders], timeout_s=30)

    assert interruption().hits == 2
    assert ids.topics[orders]
