"""The test kit: clients that call an app's endpoints, an in-memory Kafka that the real engine runs on, with a virtual
clock, and a schema registry in memory.
"""

from evkafka.service.single_attempt import Delivery
from evkafka.testing.client import AsyncTestClient, TestClient
from evkafka.testing.memory import InMemoryKafka, MemoryRecord, NotSettled, UnknownTopic
from evkafka.testing.real_kafka import RealKafka
from evkafka.testing.recording import SentEvent
from evkafka.testing.registry import InMemoryRegistry, RegisteredSchema, RegistryRequest
from evkafka.testing.replaced_registry import use_registry

__all__ = [
    "AsyncTestClient",
    "Delivery",
    "InMemoryKafka",
    "InMemoryRegistry",
    "MemoryRecord",
    "NotSettled",
    "RealKafka",
    "RegisteredSchema",
    "RegistryRequest",
    "SentEvent",
    "TestClient",
    "UnknownTopic",
    "use_registry",
]
