"""Runs one row of the delivery table."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

from evkafka import EVKafkaApp, Handler, Request
from evkafka.telemetry import AttemptFailed
from tests.conformance.apps import Order
from tests.conformance.table import GOOD, Row
from tests.support.backends import Backend

FIRST, SUBJECT, THIRD = 0, 1, 2


class Run:
    """An app whose endpoint does with the second of three records what the row says."""

    def __init__(self, row: Row, config: dict[str, Any]) -> None:
        self.attempts: Counter[int] = Counter()
        self.failed: list[AttemptFailed] = []
        handler = Handler()

        @handler.event("E")
        async def on_event(order: Order, request: Request) -> object:
            self.attempts[request.offset] += 1
            if request.offset != SUBJECT:
                return None
            result = row.act(request)
            return await result if inspect.isawaitable(result) else result

        self.app = EVKafkaApp()
        self.app.telemetry.listen(AttemptFailed, self.failed.append)
        self.app.add_consumer(config, handler)  # type: ignore[arg-type]

    @property
    def stopped(self) -> bool:
        return self.app.service is not None and self.app.service.failure is not None


async def send_three(backend: Backend, topic: str, row: Row) -> None:
    """Send three records; the second has its own key, the others share one."""
    await backend.send(topic, GOOD, key=b"a")
    await backend.send(topic, row.value, row.event_type, key=b"b")
    await backend.send(topic, GOOD, key=b"a")
