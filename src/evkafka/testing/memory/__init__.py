"""An in-memory Kafka behind the engine's ports: topics, groups, offsets, rebalances, crashes, faults, a virtual clock.

The engine that runs on it is the real one. Read `kafka.py` first; `source.py` and `sink.py` are the ports.
"""

from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.kafka import InMemoryKafka, NotSettled
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.memory.topics import UnknownTopic

__all__ = ["InMemoryKafka", "MemoryRecord", "NotSettled", "UnknownTopic", "VirtualClock"]
