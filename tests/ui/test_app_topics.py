"""The topics of an app that the dashboard knows from its declarations."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.testing import InMemoryKafka
from evkafka.ui.app_topics import dead_letter_topic_of


def failing_app(*, default: bool) -> EVKafkaApp:
    """An app with an endpoint for OrderPlaced, and perhaps a default one. Both fail, and records that no endpoint takes
    become dead letters."""
    app, handler = EVKafkaApp(), Handler()

    @handler.event("OrderPlaced")
    async def on_order(value: bytes) -> None:
        raise ValueError

    if default:

        @handler.default(on_error={"dead_letter_topic": "own.{event_type}.dlq"})
        async def on_other(value: bytes) -> None:
            raise ValueError

    policy: Any = {"max_attempts": 1, "then": "dead_letter", "dead_letter_topic": "{topic}.{event_type}.dlq"}
    config: Any = {"topics": ["orders"], "group_id": "g", "auto_offset_reset": "earliest", "unmatched": "dead_letter"}
    app.add_consumer({**config, "on_error": policy}, handler, "billing")
    return app


@pytest.mark.parametrize("event_type", ["OrderPlaced", "Other", None])
@pytest.mark.parametrize("default", [False, True])
async def test_the_dead_letters_of_an_event_type_are_in_the_topic_that_is_named(
    event_type: str | None, default: bool
) -> None:
    app = failing_app(default=default)
    async with InMemoryKafka() as kafka, kafka.running(app):
        await kafka.send("orders", b"x", event_type=event_type)
        await kafka.settle()
        named = dead_letter_topic_of(app, "billing", "orders", event_type)
        assert named is not None
        assert [record.value for record in kafka.records(named)] == [b"x"]
