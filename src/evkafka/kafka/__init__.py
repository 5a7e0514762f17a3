"""The only package that imports aiokafka: it implements `runtime/ports.py`, translates errors, contains defects.

Read `consumer/source.py` first. A comment at each contained defect says what the client would do otherwise.
"""

from __future__ import annotations

from evkafka.kafka.cluster import KafkaCluster

__all__ = ["KafkaCluster"]
