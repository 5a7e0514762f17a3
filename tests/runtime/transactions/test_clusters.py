"""Whether a producer writes to the consumer's own cluster, which may have several lists of servers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from evkafka import EVKafkaProducer, Sender
from evkafka.config import consumer_settings
from evkafka.config.settings import ConnectionSettings, ProducerSettings
from evkafka.exceptions import BrokerUnavailable, DeliveryError
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.dead_letters.writer import DeadLetterWriter
from evkafka.runtime.ports import ConsumerIdentity, OutgoingRecord, Slot, TopicIds
from evkafka.runtime.settle import SendToDeadLetter
from evkafka.runtime.transaction_scope import TransactionScope
from evkafka.telemetry import AttemptFailed
from evkafka.testing.memory.apps import ClusterView
from tests.runtime.transactions.conftest import Relay
from tests.support.dead_letters import Source

HERE, ALIAS, ELSEWHERE, TWIN = "here:9092", "alias:9092", "elsewhere:9092", "twin:9092"

IDS = {
    HERE: TopicIds("one", {"orders": "o-1"}),
    ALIAS: TopicIds("one", {"orders": "o-1"}),
    ELSEWHERE: TopicIds("another", {"orders": "o-1"}),
    TWIN: TopicIds("one", {"orders": "o-2"}),
}


class Clusters:
    """Three clusters: one with two names, and one that was created with the id of another.

    Attributes:
        written: the servers over which records were written at once.
        away: so many of the next look-ups of another cluster's ids fail.
    """

    def __init__(self) -> None:
        self.written: list[str] = []
        self.away = 0

    def sink(self, settings: ProducerSettings) -> Any:
        [servers] = settings.connection.bootstrap_servers

        async def start() -> None: ...

        async def queue_record(record: OutgoingRecord) -> asyncio.Future[None]:
            self.written.append(servers)
            confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            confirmed.set_result(None)
            return confirmed

        async def with_chosen_partition(record: OutgoingRecord, **_: object) -> OutgoingRecord:
            return record

        return SimpleNamespace(start=start, queue_record=queue_record, with_chosen_partition=with_chosen_partition)

    async def ensure_topics(self, connection: ConnectionSettings, wanted: Mapping[str, str], **_: object) -> Any:
        return dict.fromkeys(wanted, 1)

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], **_: object) -> TopicIds:
        [servers] = connection.bootstrap_servers
        if servers != HERE and self.away:
            self.away -= 1
            raise BrokerUnavailable("away")
        return IDS[servers]


async def dead_letter(clusters: Clusters, producer: dict[str, Any]) -> list[str]:
    """Write a dead letter of an exactly-once consumer; returns the topics that its transaction writes to."""
    policy = {"then": "dead_letter", "max_attempts": 1, "dead_letter_producer": producer}
    settings = consumer_settings({"topics": ["orders"], "group_id": "g", "bootstrap_servers": HERE, "on_error": policy})
    scope = TransactionScope("it", settings, cluster=cast(Any, clusters), clock=SystemClock())
    writer = DeadLetterWriter(
        settings,
        policy_for=lambda _: settings.on_error,
        cluster=cast(Any, clusters),
        clock=SystemClock(),
        transaction_scope=scope,
    )
    slot = Slot(ConsumerIdentity("it", "g", "c"), {})
    outputs = await writer.send_to_dead_letter(Source("orders", 0, 7), slot, SendToDeadLetter("it failed", None))
    return [output.topic for output in outputs]


@pytest.mark.parametrize("producer", [{}, {"bootstrap_servers": ALIAS}])
async def test_a_dead_letter_for_the_consumers_own_cluster_is_in_the_transaction(producer: dict[str, Any]) -> None:
    clusters = Clusters()
    assert await dead_letter(clusters, producer) == ["orders.g.dlq"]
    assert clusters.written == []


@pytest.mark.parametrize("servers", [ELSEWHERE, TWIN])
async def test_a_dead_letter_for_another_cluster_is_written_at_once(servers: str) -> None:
    clusters = Clusters()
    assert await dead_letter(clusters, {"bootstrap_servers": servers}) == []
    assert clusters.written == [servers]


async def test_a_dead_letter_waits_until_its_cluster_is_known(caplog: pytest.LogCaptureFixture) -> None:
    clusters = Clusters()
    clusters.away = 1
    assert await dead_letter(clusters, {"bootstrap_servers": ALIAS}) == ["orders.g.dlq"]
    assert "could not write the dead letter of orders[0]@7 to orders.g.dlq, trying again" in caplog.text


async def test_a_send_over_another_list_of_servers_of_the_cluster_is_in_the_transaction(relay: Relay) -> None:
    await relay.feed(b"a")
    servers = [ALIAS, *EVKafkaProducer({}).settings.connection.bootstrap_servers]
    async with relay.running({"bootstrap_servers": servers}, transaction_interval_ms=500):
        await relay.kafka.advance(ms=100)
        assert relay.handled == [b"a"]
        assert relay.written == []
        await relay.kafka.settle()
    assert relay.out == [b"a"]


async def test_a_list_of_another_producer_says_that_two_lists_name_one_cluster(relay: Relay) -> None:
    await relay.feed(b"a")
    servers = [ALIAS, *EVKafkaProducer({}).settings.connection.bootstrap_servers]
    relay.app.add_producer({"bootstrap_servers": servers}, Sender(), "both")
    async with relay.running({"bootstrap_servers": ALIAS}):
        await relay.kafka.settle()
    assert relay.out == [b"a"]


async def test_a_send_fails_while_its_cluster_is_not_known(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[BaseException | None] = []
    relay.app.telemetry.listen(AttemptFailed, lambda event: errors.append(event.error))

    async def topic_ids(*_: object, **__: object) -> TopicIds:
        if not errors:
            raise BrokerUnavailable("no broker can be reached")
        return TopicIds("memory", {})

    monkeypatch.setattr(ClusterView, "topic_ids", topic_ids)
    await relay.feed(b"a")
    async with relay.running({"bootstrap_servers": ALIAS}, on_error={"backoff_ms": 10}):
        await relay.kafka.settle()
    [error] = errors
    assert isinstance(error, DeliveryError)
    assert str(error) == ("event 'Out' to topic 'out' was not delivered: no broker can be reached; it was not written")
    assert not error.may_have_been_written
    assert relay.out == [b"a"]
