"""Implements `Cluster` for real brokers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ProducerSettings
from evkafka.kafka.consumer.source import KafkaSource
from evkafka.records import Record
from evkafka.runtime.ports import RecordSink, RecordSource, TopicIds


class KafkaCluster:
    """Creates sources and sinks that connect to real brokers."""

    def source(self, settings: ConsumerSettings) -> RecordSource:
        return KafkaSource(settings)

    def sink(self, settings: ProducerSettings) -> RecordSink:
        from evkafka.kafka.producer.sink import KafkaSink  # apps that only consume do not load it

        return KafkaSink(settings)

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        from evkafka.kafka.admin.topics import ensure_topics

        return await ensure_topics(connection, wanted, timeout_s=timeout_s)

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        from evkafka.kafka.admin.topic_ids import look_up_topic_ids

        return await look_up_topic_ids(connection, topics, timeout_s=timeout_s)

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        from evkafka.kafka.admin.topic_reader import for_each_record_of_topic
        from evkafka.kafka.admin.topics import settings_of_topic

        if await settings_of_topic(connection, topic, timeout_s=timeout_s):
            await for_each_record_of_topic(connection, topic, take, timeout_s=timeout_s)
