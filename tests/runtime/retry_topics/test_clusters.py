"""A record for a retry topic stays in the cluster that it was read from, wherever its dead letters go."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

from evkafka.config import consumer_settings
from evkafka.config.settings import ConnectionSettings, ProducerSettings
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.dead_letters.writer import DeadLetterWriter
from evkafka.runtime.ports import ConsumerIdentity, OutgoingRecord, Slot, TopicIds
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic
from tests.support.dead_letters import Source

HERE, ELSEWHERE = "here:9092", "elsewhere:9092"


class Clusters:
    """Confirms every send. `written` has the servers of each topic that was written."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}

    def sink(self, settings: ProducerSettings) -> Any:
        [servers] = settings.connection.bootstrap_servers

        async def start() -> None: ...

        async def queue_record(record: OutgoingRecord) -> asyncio.Future[None]:
            self.written[record.topic] = servers
            confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            confirmed.set_result(None)
            return confirmed

        return SimpleNamespace(start=start, queue_record=queue_record)

    async def ensure_topics(self, connection: ConnectionSettings, wanted: Mapping[str, str], **_: object) -> Any:
        return dict.fromkeys(wanted, 1)

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], **_: object) -> TopicIds:
        return TopicIds("a-cluster", {})


async def test_retries_are_written_to_the_records_cluster_and_dead_letters_to_their_own() -> None:
    elsewhere = {"bootstrap_servers": ELSEWHERE}
    policy = {"then": "dead_letter", "max_attempts": 1, "retry_topics": [5_000], "dead_letter_producer": elsewhere}
    settings = consumer_settings({"topics": ["orders"], "group_id": "g", "bootstrap_servers": HERE, "on_error": policy})
    clusters = Clusters()
    writer = DeadLetterWriter(
        settings, policy_for=lambda _: settings.on_error, cluster=cast(Any, clusters), clock=SystemClock()
    )
    record, slot = Source("orders", 0, 7), Slot(ConsumerIdentity("it", "g", "c"), {})
    await writer.send_to_retry_topic(record, slot, SendToRetryTopic(5_000, "it failed", None))
    await writer.send_to_dead_letter(record, slot, SendToDeadLetter("it failed", None))
    assert clusters.written == {"orders.g.retry.5000": HERE, "orders.g.dlq": ELSEWHERE}
