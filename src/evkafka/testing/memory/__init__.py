"""An in-memory Kafka behind the engine's ports: partitions, groups, offsets, rebalances, crashes, a virtual clock.

The engine that runs on it is the real one. Read `kafka.py` first.
"""

from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.kafka import InMemoryKafka, NotSettled

__all__ = ["InMemoryKafka", "NotSettled", "VirtualClock"]
