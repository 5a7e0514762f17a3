"""An in-memory Kafka for the real engine: topics, groups, offsets, rebalances, crashes, faults, a virtual clock.

Read `kafka.py` first; `source.py` and `sink.py` implement the ports of `runtime/ports.py`.
"""

from evkafka.testing.memory.clock import VirtualClock
from evkafka.testing.memory.kafka import InMemoryKafka, NotSettled
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.memory.topics import UnknownTopic

__all__ = ["InMemoryKafka", "MemoryRecord", "NotSettled", "UnknownTopic", "VirtualClock"]
