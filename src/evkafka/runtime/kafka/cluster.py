"""Kafka itself, as the runtime's cluster."""

from __future__ import annotations

from collections.abc import Mapping

from evkafka.ports import RecordSink, RecordSource
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
