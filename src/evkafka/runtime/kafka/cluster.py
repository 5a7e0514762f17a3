"""Kafka itself, as the runtime's cluster."""

from __future__ import annotations

from evkafka.ports import RecordSink, RecordSource
from evkafka.runtime.kafka.source import KafkaSource
from evkafka.settings import ConsumerSettings, ProducerSettings


class KafkaCluster:
    """Makes sources and sinks that speak to real brokers."""

    def source(self, settings: ConsumerSettings) -> RecordSource:
        return KafkaSource(settings)

    def sink(self, settings: ProducerSettings) -> RecordSink:
        from evkafka.runtime.kafka.sink import KafkaSink  # only those that produce load the producing side

        return KafkaSink(settings)
