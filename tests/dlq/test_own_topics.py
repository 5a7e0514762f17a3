"""A consumer never reads its own dead letters, whichever policy has their topic."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.exceptions import ConfigError
from evkafka.runtime.topic_pattern import TopicPattern
from tests.support.apps import app_of
from tests.support.backends import Backend
from tests.support.dead_letters import TO_DLQ


def handler_with(**policy: Any) -> Handler:
    handler = Handler()

    @handler.event("E", on_error={**TO_DLQ, **policy})
    async def on_event(value: bytes) -> None:
        raise ValueError("poison")

    return handler


class TestAPattern:
    @pytest.mark.parametrize("template", ["{prefix}-failed-{topic}", "{prefix}-failed-{event_type}-{topic}"])
    async def test_does_not_read_dead_letters_of_an_event_types_policy(self, backend: Backend, template: str) -> None:
        prefix = f"p{uuid.uuid4().hex[:8]}"
        policy_name = template.replace("{prefix}", prefix)
        source = await backend.topic(name=f"{prefix}-orders")
        dead = await backend.topic(name=policy_name.format(topic=source, event_type="E"))
        await backend.send(dead, b"an older letter")
        app = app_of(handler_with(dead_letter_topic=policy_name), pattern(backend, prefix))
        async with backend.running(app):
            await backend.send(source, b"x")

            async def written() -> bool:
                return len(await backend.values(dead)) == 2

            await backend.until(written)
            assert {one.topic for one in app.status().consumers[0].partitions} == {source}

    async def test_does_not_read_dead_letters_of_an_endpoint_declared_after_the_consumer(
        self, backend: Backend
    ) -> None:
        prefix, handler = f"p{uuid.uuid4().hex[:8]}", Handler()
        source = await backend.topic(name=f"{prefix}-orders")
        await backend.topic(name=f"{prefix}-late-{source}")
        app = app_of(handler, pattern(backend, prefix))

        @handler.event("E", on_error={**TO_DLQ, "dead_letter_topic": prefix + "-late-{topic}"})
        async def on_event(value: bytes) -> None: ...

        async with backend.running(app):

            async def assigned() -> bool:
                return bool(app.status().consumers[0].partitions)

            await backend.until(assigned)
            assert {one.topic for one in app.status().consumers[0].partitions} == {source}

    @pytest.mark.parametrize(
        ("template", "topic", "is_read"),
        [
            ("failed-{topic}", "failed-orders", False),
            ("failed-{topic}", "failed-failed-orders", False),
            ("failed-{topic}", "failed-orders.state", False),
            ("failed-{topic}", "failures", True),
            ("{topic}-{event_type}-{topic}", "orders-E-orders", False),
            ("{topic}-{event_type}-{topic}", "orders-E-returns", True),
            ("graveyard", "graveyard", False),
            ("graveyard", "graveyard.state", False),
        ],
    )
    def test_does_not_read_names_that_a_policy_produces(self, template: str, topic: str, is_read: bool) -> None:
        pattern = TopicPattern(re.compile("orders|returns|f.*|g.*|o.*"), [template])
        assert pattern.match(topic) is is_read

    def test_reads_a_topic_named_after_one_that_the_pattern_does_not_match(self) -> None:
        assert TopicPattern(re.compile("failed-.*"), ["failed-{topic}"]).match("failed-orders")

    @pytest.mark.parametrize(
        ("template", "topic", "is_read"),
        [
            ("{event_type}", "orders", True),
            ("{event_type}", "unmatched", False),
            ("{group_id}", "orders", True),
            ("{topic}.{event_type}", "shop.orders", True),
            ("{topic}.{event_type}", "shop.orders.E", False),
            ("{topic}.{event_type}", "shop.orders.unreadable", False),
            ("{topic}.{event_type}", "shop.orders.unmatched.state", False),
            ("{topic}-{group_id}", "shop-orders", True),
            ("{topic}-{group_id}", "shop-orders-g", False),
            ("{topic}-failed-{event_type}", "shop-failed-OfAnother", False),
        ],
    )
    def test_reads_a_source_topic_that_only_placeholders_could_produce(
        self, template: str, topic: str, is_read: bool
    ) -> None:
        app = EVKafkaApp()
        app.add_consumer(
            {"topic_pattern": "(?!(g|E)$).*", "group_id": "g", "on_error": {**TO_DLQ, "dead_letter_topic": template}},  # type: ignore[typeddict-item]
            handler_with(dead_letter_topic=template),
            name="shop",
        )
        assert (
            TopicPattern.from_settings(app.consumers["shop"].settings_with_dead_letter_topics()).match(topic) is is_read
        )


def pattern(backend: Backend, prefix: str) -> dict[str, Any]:
    config = backend.config(topic_pattern=f"{prefix}-.*")
    del config["topics"]
    return config


class TestAnEventTypesPolicyThatNamesATopicOfItsOwnConsumer:
    @pytest.mark.parametrize(
        ("subscription", "template"),
        [
            ({"topics": ["orders", "returns"]}, "returns"),
            ({"topics": ["orders", "orders.E"]}, "{topic}.{event_type}"),
            ({"topics": ["orders"]}, "{topic}"),
            ({"topics": ["orders"], "on_error": {"max_attempts": 1, "retry_topics": [500]}}, "orders.g.retry.500"),
            ({"topic_pattern": "orders.*"}, "orders-dead"),
            ({"topic_pattern": "orders.*"}, "orders-dead-{event_type}"),
            ({"topic_pattern": "orders.*"}, "{topic}"),
        ],
    )
    def test_is_refused_with_its_name(self, subscription: dict[str, Any], template: str) -> None:
        with pytest.raises(ConfigError, match=r"event type 'E': on_error\.dead_letter_topic: .*reads itself"):
            EVKafkaApp().add_consumer(
                {"group_id": "g", **subscription},  # type: ignore[typeddict-item, typeddict-unknown-key]
                handler_with(dead_letter_topic=template),
            )

    async def test_declared_later_is_refused_at_the_start(self, backend: Backend) -> None:
        handler, source = Handler(), await backend.topic()
        app = app_of(handler, backend.config(source))

        @handler.event("E", on_error={**TO_DLQ, "dead_letter_topic": source})
        async def on_event(value: bytes) -> None: ...

        with pytest.raises(Exception, match="which this consumer reads itself"):
            async with backend.running(app):
                pass
