"""Apps with retry topics, and the attempts of their endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evkafka import EVKafkaApp, Handler, Request
from evkafka.config import ErrorPolicy

TIERS: ErrorPolicy = {
    "max_attempts": 2,
    "backoff_ms": 10,
    "jitter": 0,
    "retry_topics": [5_000, 60_000],
    "then": "dead_letter",
    "dead_letter_limit": None,
}


@dataclass
class Seen:
    """Attempts as (number, attempt), and their requests; `failing` decides which numbers fail."""

    failing: set[int] = field(default_factory=set)
    attempts: list[tuple[int, int]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def of(self, number: int) -> list[int]:
        return [attempt for seen, attempt in self.attempts if seen == number]


def app_of(seen: Seen, on_error: ErrorPolicy = TIERS, **config: Any) -> EVKafkaApp:
    """One consumer of `orders` with the group `g`; `seen.failing` decides which values fail."""
    handler = Handler()

    @handler.event("E")
    async def on_event(event: dict[str, Any], request: Request) -> None:
        seen.attempts.append((event["number"], request.attempt))
        seen.requests.append(request)
        if event["number"] in seen.failing:
            raise ConnectionError(f"number {event['number']} cannot be handled yet")

    app = EVKafkaApp()
    app.add_consumer(
        {
            "topics": ["orders"],
            "group_id": "g",
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            "on_error": on_error,
            **config,
        },
        handler,
        "orders",
    )
    return app
