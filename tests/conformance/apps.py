"""Apps of the conformance suite, and what their telemetry reported."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler
from evkafka.telemetry import AttemptFailed, RecordsUnmatched

QUICK = {"backoff_ms": 20, "max_backoff_ms": 50}


class Order(BaseModel):
    number: int


class Seen(list[Any]):
    """What an app's endpoint saw, and what its telemetry said."""

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
