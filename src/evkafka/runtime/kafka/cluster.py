"""Kafka itself, as the runtime's cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from evkafka.ports import Record, RecordSink, RecordSource, TopicIds
from evkafka.runtime.kafka.source import KafkaSource
from evkafka.settings import ConnectionSettings, ConsumerSettings, ProducerSettings


class KafkaCluster:
    """Makes sources and sinks that speak to real brokers."""

    def source(self, settings: ConsumerSettings) -> RecordSource:
        return KafkaSource(settings)

    def sink(self, settings: ProducerSettings) -> RecordSink:
        from evkafka.runtime.kafka.sink import KafkaSink  # only those that produce load the producing side

        return KafkaSink(settings)

    async def ensure_topics(
        self, connection: ConnectionSettings, wanted: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, int]:
        from evkafka.runtime.kafka import topics

        return await topics.ensure_topics(connection, wanted, timeout_s=timeout_s)

    async def topic_ids(self, connection: ConnectionSettings, topics: Collection[str], *, timeout_s: float) -> TopicIds:
        from evkafka.runtime.kafka.topic_ids import look_up_topic_ids

        return await look_up_topic_ids(connection, topics, timeout_s=timeout_s)

    async def read_topic(
        self, connection: ConnectionSettings, topic: str, take: Callable[[Record], object], *, timeout_s: float
    ) -> None:
        from evkafka.runtime.kafka import lookup, topics

        if await topics.topic_settings(connection, topic, timeout_s=timeout_s):
            await lookup.read_log(connection, topic, take, timeout_s=timeout_s)
