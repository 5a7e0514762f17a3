"""The test kit: an in-memory Kafka that the real engine runs on, with a virtual clock."""

from evkafka.testing.memory import InMemoryKafka, NotSettled

__all__ = ["InMemoryKafka", "NotSettled"]
