"""The apps of the conformance suite."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler
from evkafka.telemetry import AttemptFailed, RecordsUnmatched


class Order(BaseModel):
    number: int


class Seen(list[Any]):
    """The values that an app's endpoint saw, and the telemetry events of the app."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: list[AttemptFailed] = []
        self.unmatched: list[RecordsUnmatched] = []


def make_app(config: dict[str, Any], handler: Handler, seen: Seen, **options: Any) -> EVKafkaApp:
    app = EVKafkaApp(**options)
    app.telemetry.listen(AttemptFailed, seen.failed.append)
    app.telemetry.listen(RecordsUnmatched, seen.unmatched.append)
    app.add_consumer(config, handler)  # type: ignore[arg-type]
    return app
