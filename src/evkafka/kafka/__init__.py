"""The only package that imports aiokafka: it implements `runtime/ports.py`, translates errors, works around defects.

Read `consumer/source.py` first. docs/aiokafka-defects.md lists the defects; comments refer to its sections.
"""

from __future__ import annotations

from evkafka.kafka.cluster import KafkaCluster

__all__ = ["KafkaCluster"]
