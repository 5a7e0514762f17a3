"""Declared consumers: their own stacks, and app callables as handlers."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import App, ConfigError, Context, EVKafkaApp, Handler, Request, Skip
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.telemetry import AttemptFailed
from evkafka.testing import InMemoryKafka


def config(topic: str, **keys: Any) -> Any:
    return {"topics": [topic], "group_id": f"g-{topic}", "auto_offset_reset": "earliest", **keys}


class Label:
    def __init__(self, app: App, label: str) -> None:
        self.app = app
        self.label = label

    async def __call__(self, context: Context) -> None:
        context.state["labels"] = [*context.state.get("labels", []), self.label]
        await self.app(context)


class TestMiddlewareOfOneConsumer:
    async def test_replaces_the_apps_for_this_consumer_alone(self) -> None:
        app, handler, seen = EVKafkaApp(middleware=[Middleware(Label, label="app")]), Handler(), []

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            seen.append((request.topic, request.state["labels"]))

        app.add_consumer(config("a"), handler)
        app.add_consumer(config("b"), handler, middleware=[Middleware(Label, "one"), Middleware(Label, "two")])
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("a", b"x", event_type="E")
            await kafka.send("b", b"x", event_type="E")
            await kafka.settle()
        assert sorted(seen) == [("a", ["app"]), ("b", ["one", "two"])]

    async def test_two_consumers_of_one_handler_read_different_headers(self) -> None:
        app, handler, seen = EVKafkaApp(), Handler(), []

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            seen.append((request.topic, value))

        theirs = [Middleware(JsonTypedDecoderMiddleware, type_header_name="X-Type")]
        app.add_consumer(config("ours"), handler)
        app.add_consumer(config("theirs"), handler, middleware=theirs)
        async with InMemoryKafka() as kafka, kafka.running(app):
            for topic in ("ours", "theirs"):
                await kafka.send(topic, b"by Event-Type", headers={"Event-Type": "E"})
                await kafka.send(topic, b"by X-Type", headers={"X-Type": "E"})
            await kafka.settle()
        assert sorted(seen) == [("ours", b"by Event-Type"), ("theirs", b"by X-Type")]

    async def test_an_empty_list_is_the_default_stack(self) -> None:
        app, handler, seen = EVKafkaApp(middleware=[Middleware(Label, label="app")]), Handler(), []

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            seen.append("labels" in request.context.state)

        app.add_consumer(config("a"), handler, middleware=[])
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("a", b"x", event_type="E")
            await kafka.settle()
        assert seen == [False]


class TestAnAppCallable:
    @pytest.mark.parametrize("keys", [{}, {"concurrency": 4}])
    async def test_gets_every_record_of_any_type(self, keys: dict[str, Any]) -> None:
        app, seen = EVKafkaApp(), []

        async def catch_all(context: Context) -> None:
            seen.append((context.message.value, context.message.event_type))

        app.add_consumer(config("a", **keys), catch_all)
        async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
            for event_type in ("E", "F", None):
                await kafka.send("a", b"x", event_type=event_type)
            await kafka.settle()
            kafka.assert_committed(group="g-a", topic="a", partition=0, offset=3)
        assert len(seen) == 3

    async def test_an_object_with_a_call_method_does_too(self) -> None:
        class CatchAll:
            def __init__(self) -> None:
                self.seen: list[bytes | None] = []

            async def __call__(self, context: Context) -> None:
                self.seen.append(context.message.value)

        app, catch_all = EVKafkaApp(), CatchAll()
        app.add_consumer(config("a"), catch_all, middleware=[Middleware(Label, "x")])
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("a", b"x")
            await kafka.settle()
        assert catch_all.seen == [b"x"]

    async def test_its_exceptions_are_retried_and_its_outcomes_count(self) -> None:
        app, seen, failed = EVKafkaApp(), [], list[AttemptFailed]()
        app.telemetry.listen(AttemptFailed, failed.append)

        async def catch_all(context: Context) -> None:
            seen.append((context.message.value, context.attempt))
            if context.message.value == b"skip":
                raise Skip("not ours")
            if context.attempt == 1:
                raise ValueError

        app.add_consumer(config("a", on_error={"backoff_ms": 10}), catch_all)
        async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
            await kafka.send("a", b"skip")
            await kafka.send("a", b"x")
            await kafka.settle()
        assert seen == [(b"skip", 1), (b"x", 1), (b"x", 2)]
        assert len(failed) == 1

    def test_anything_else_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="a consumer's handler is a Handler or an async callable, not str"):
            EVKafkaApp().add_consumer(config("a"), "handler")  # type: ignore[arg-type]


class TestDeadLetterTopics:
    def test_are_those_of_policies_and_of_records_without_an_endpoint(self) -> None:
        app, handler = EVKafkaApp(), Handler()

        @handler.event("E", on_error={"then": "dead_letter", "dead_letter_topic": "{topic}.{event_type}"})
        async def on_event(value: bytes) -> None: ...

        app.add_consumer(config("a", on_error={"max_attempts": 2}, unmatched="dead_letter"), handler, name="c")
        topics = [(one.name, one.source) for one in app.consumers["c"].dead_letter_topics()]
        assert topics == [("a.E", "a"), ("a.g-a.dlq", "a")]

    def test_of_a_consumer_without_dead_letters_are_none(self) -> None:
        app = EVKafkaApp()
        app.add_consumer(config("a", on_error={"max_attempts": 2}), Handler(), name="c")
        assert not list(app.consumers["c"].dead_letter_topics())

    def test_of_a_pre_commit_consumer_are_none_because_an_endpoints_policy_has_no_effect(self) -> None:
        app, handler = EVKafkaApp(), Handler()

        @handler.event("E", on_error={"max_attempts": 2, "then": "dead_letter"})
        async def on_event(value: bytes) -> None: ...

        app.add_consumer(config("a", auto_commit_mode="pre-commit"), handler, name="c")
        assert not list(app.consumers["c"].dead_letter_topics())
