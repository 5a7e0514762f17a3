"""Apps for tests of the in-memory Kafka, with one endpoint that records its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from evkafka import ConsumerConfig, DeliveryError, EVKafkaApp, Handler, ProducerConfig, Request, Sender
from evkafka.records import RecordMetadata

CONFIG: ConsumerConfig = {"topics": ["orders"], "group_id": "billing", "auto_offset_reset": "earliest"}

Then = Callable[[Request], Awaitable[None]]


class Seen(list[tuple[int, int]]):
    """(partition, offset) of each attempt, in order."""

    def offsets(self, partition: int = 0) -> list[int]:
        return [offset for own, offset in self if own == partition]


async def nothing(request: Request) -> None:
    """An endpoint that returns at once."""


def make_app(then: Then = nothing, **keys: Any) -> tuple[EVKafkaApp, Seen]:
    """An app whose endpoint for `E` records the call and then calls `then`. A config value of None removes the key."""
    seen, handler = Seen(), Handler()

    @handler.event("E")
    async def on_event(value: bytes, request: Request) -> None:
        seen.append((request.partition, request.offset))
        await then(request)

    app = EVKafkaApp()
    config = {key: value for key, value in {**CONFIG, **keys}.items() if value is not None}
    app.add_consumer(config, handler)  # type: ignore[arg-type]
    return app, seen


class Relay:
    """An app whose endpoint sends its event on with a Sender."""

    def __init__(self, **producer: Any) -> None:
        self.confirmed: list[RecordMetadata] = []
        self.failed: list[DeliveryError] = []
        handler, sender = Handler(), Sender()

        @sender.event("Relayed", key=lambda payload: payload["key"])
        async def relay(payload: dict[str, Any]) -> None: ...

        @handler.event("E")
        async def on_event(payload: dict[str, Any]) -> None:
            try:
                self.confirmed.append(await relay(payload))
            except DeliveryError as error:
                self.failed.append(error)
                raise

        self.app = EVKafkaApp()
        self.app.add_consumer({"topics": ["in"], "group_id": "g", "auto_offset_reset": "earliest"}, handler)
        self.app.add_producer({**PRODUCER, **producer}, sender)  # type: ignore[typeddict-item]


PRODUCER: ProducerConfig = {"bootstrap_servers": "nobody:1", "topic": "out"}
