"""The real Kafka of a test run, for one test: its address, and topics that no other test uses."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from evkafka.config import producer_settings


class FreshTopic(str):
    """A topic's name. Awaiting it returns itself, so that `await kafka.topic()` works in async tests too."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Self]:
        return self
        yield  # makes this a generator, as __await__ must be


class RealKafka:
    """The fixture `evkafka_kafka`.

    Attributes:
        bootstrap_servers: for the configuration key of the same name.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def topic(
        self, partitions: int = 1, *, prefix: str = "test", config: Mapping[str, object] | None = None
    ) -> FreshTopic:
        """Create a topic with a unique name, and return the name. Takes some milliseconds, also when it is awaited.

        Args:
            prefix: first part of the name.
            config: the topic's own settings, under Kafka's names: `{"cleanup.policy": "compact"}`.

        Raises:
            BrokerError: the broker refused, or did not answer.
        """
        from evkafka.kafka.admin.topics import create_topic

        name = FreshTopic(f"{prefix}-{uuid.uuid4().hex[:12]}")
        connection = producer_settings({"bootstrap_servers": self.bootstrap_servers}).connection
        settings = {key: str(value) for key, value in (config or {}).items()}
        with ThreadPoolExecutor(1) as thread:  # an event loop may be running here
            creating = create_topic(connection, name, partitions=partitions, config=settings)
            thread.submit(asyncio.run, creating).result()
        return name
