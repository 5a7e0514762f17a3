"""Apps for the tests of the in-memory Kafka: one endpoint, whose calls are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from evkafka import ConsumerConfig, EVKafkaApp, Handler, Request

CONFIG: ConsumerConfig = {"topics": ["orders"], "group_id": "billing", "auto_offset_reset": "earliest"}

Then = Callable[[Request], Awaitable[None]]


class Seen(list[tuple[int, int]]):
    """(partition, offset) of each attempt, in order."""

    def offsets(self, partition: int = 0) -> list[int]:
        return [offset for own, offset in self if own == partition]


async def nothing(request: Request) -> None:
    """An endpoint that is done at once."""


def make_app(then: Then = nothing, **keys: Any) -> tuple[EVKafkaApp, Seen]:
    """An app with one consumer, whose endpoint for `E` notes the record and goes on with `then`. None drops a key."""
    seen, handler = Seen(), Handler()

    @handler.event("E")
    async def on_event(value: bytes, request: Request) -> None:
        seen.append((request.partition, request.offset))
        await then(request)

    app = EVKafkaApp()
    config = {key: value for key, value in {**CONFIG, **keys}.items() if value is not None}
    app.add_consumer(config, handler)  # type: ignore[arg-type]
    return app, seen
