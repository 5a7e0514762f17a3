"""The real Kafka of a test run, as one test sees it: its address, and topics that no other test has."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from evkafka.config import producer_settings


class FreshTopic(str):
    """A topic's name. Awaiting it gives itself, so that `await kafka.topic()` reads like the other calls of an async
    test.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Self]:
        return self
        yield  # makes this a generator, as __await__ must be


class RealKafka:
    """What the fixture `evkafka_kafka` gives.

    Attributes:
        bootstrap_servers: for a configuration's key of the same name.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def topic(
        self, partitions: int = 1, *, prefix: str = "test", config: Mapping[str, object] | None = None
    ) -> FreshTopic:
        """Make a topic with a name that nobody else has, and return the name. Takes some milliseconds, also when
        it is awaited.

        Args:
            prefix: begins the name.
            config: the topic's own settings, under Kafka's names: `{"cleanup.policy": "compact"}`.

        Raises:
            BrokerError: the broker refused, or did not answer.
        """
        from evkafka.kafka.admin.topics import create_topic

        name = FreshTopic(f"{prefix}-{uuid.uuid4().hex[:12]}")
        connection = producer_settings({"bootstrap_servers": self.bootstrap_servers}).connection
        settings = {key: str(value) for key, value in (config or {}).items()}
        with ThreadPoolExecutor(1) as elsewhere:  # a loop may be running here
            making = create_topic(connection, name, partitions=partitions, config=settings)
            elsewhere.submit(asyncio.run, making).result()
        return name
