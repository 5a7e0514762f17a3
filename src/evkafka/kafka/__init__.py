"""The only room that knows aiokafka: it adapts the client to our ports, translates its errors, contains its defects.

Read `kafka/consumer/source.py` first. Each contained defect stands beside a line that says what it would do otherwise, and has
a test of its own in `tests/kafka/`.
"""

from __future__ import annotations

from evkafka.kafka.cluster import KafkaCluster

__all__ = ["KafkaCluster"]
