"""An app on the real Kafka, and a handler that keeps the records it handled."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from evkafka import EVKafkaApp, Handler, Request


class Handled(Handler):
    """A handler of events "E" that keeps (partition, offset, value) of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[int, int, bytes]] = []

        @self.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            self.records.append((request.partition, request.offset, value))


@contextlib.asynccontextmanager
async def running(config: dict[str, Any], handler: Handler) -> AsyncIterator[EVKafkaApp]:
    app = EVKafkaApp()
    app.add_consumer(config, handler)  # type: ignore[arg-type]
    async with app.running(on_failure=lambda _: None):
        yield app
