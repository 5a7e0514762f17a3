"""Kafka itself, as the runtime's cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ProducerSettings
from evkafka.kafka.consumer.source import KafkaSource
from evkafka.records import Record
from evkafka.runtime.ports import RecordSink, RecordSource, TopicIds


class KafkaCluster:
    """Makes sources and sinks that speak to real brokers."""

    def source(self, settings: ConsumerSettings) -> RecordSource:
        return KafkaSource(settings)

    def sink(self, settings: ProducerSettings) -> RecordSink:
        from evkafka.kafka.producer.sink import KafkaSink  # only those that produce load the producing side

        return KafkaSink(settings)

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        from evkafka.kafka.admin import topics

        return await topics.ensure_topics(connection, wanted, timeout_s=timeout_s)

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        from evkafka.kafka.admin.topic_ids import look_up_topic_ids

        return await look_up_topic_ids(connection, topics, timeout_s=timeout_s)

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        from evkafka.kafka.admin import log_reader as lookup
        from evkafka.kafka.admin import topics

        if await topics.topic_settings(connection, topic, timeout_s=timeout_s):
            await lookup.read_log(connection, topic, take, timeout_s=timeout_s)
