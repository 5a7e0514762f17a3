"""The test kit: clients that call an app's endpoints, and an in-memory Kafka that the real engine runs on, with a
virtual clock.
"""

from evkafka.service.single_attempt import Delivery
from evkafka.testing.client import AsyncTestClient, TestClient
from evkafka.testing.memory import InMemoryKafka, MemoryRecord, NotSettled, UnknownTopic
from evkafka.testing.real_kafka import RealKafka
from evkafka.testing.recording import SentEvent

__all__ = [
    "AsyncTestClient",
    "Delivery",
    "InMemoryKafka",
    "MemoryRecord",
    "NotSettled",
    "RealKafka",
    "SentEvent",
    "TestClient",
    "UnknownTopic",
]
