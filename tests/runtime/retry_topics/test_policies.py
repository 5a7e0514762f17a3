"""The other keys of an error policy together with retry topics, on the in-memory Kafka."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import ConfigError, DeadLetter, EVKafkaApp, Handler, Middleware, Request, Retry
from evkafka.context import Context
from evkafka.exceptions import StartFailed, StopApp
from evkafka.middleware import JsonTypedDecoderMiddleware
from evkafka.telemetry import AttemptFailed, RecordsProcessed
from evkafka.testing import InMemoryKafka
from tests.runtime.retry_topics.apps import TIERS, Seen, app_of


class Through:
    """A middleware of the user's, which changes nothing."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, context: Context) -> None:
        await self._app(context)


def app_with(handler: Handler, middleware: list[Middleware] | None = None, **config: Any) -> EVKafkaApp:
    app = EVKafkaApp(middleware=middleware)
    base = {"topics": ["orders"], "group_id": "g", "auto_offset_reset": "earliest", "on_error": TIERS}
    app.add_consumer({**base, **config}, handler, "orders")  # type: ignore[typeddict-item]
    return app


async def run(kafka: InMemoryKafka, app: EVKafkaApp) -> None:
    async with kafka.running(app):
        await kafka.settle()


class TestAfterTheLastRetryTopic:
    async def test_skip_skips_the_record(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen, {**TIERS, "then": "skip"})):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.settle()
            assert len(seen.of(1)) == 6
            kafka.assert_committed(group="g.retry", topic="orders.g.retry.60000", offset=1)
            assert "orders.g.dlq" not in kafka.topics

    async def test_stop_ends_the_app_with_the_record_uncommitted(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1) as kafka:
            await kafka.send("orders", {"number": 1}, event_type="E")
            with pytest.raises(StopApp, match=r"orders\.g\.retry\.60000\[0\]@0 stops the app: attempt 2 of 2 failed"):
                await run(kafka, app_of(seen, {**TIERS, "then": "stop"}))
            kafka.assert_committed(group="g", topic="orders", offset=1)
            kafka.assert_committed(group="g.retry", topic="orders.g.retry.60000", offset=0)

    async def test_the_dead_letter_limit_does_not_count_retries(self) -> None:
        """All records of a retry topic have failed before: that they fail again does not indicate a faulty deploy."""
        seen = Seen(failing=set(range(10)))
        policy = {**TIERS, "dead_letter_limit": {"consecutive": 2}}
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen, policy)):  # type: ignore[arg-type]
            for number in range(10):
                await kafka.send("orders", {"number": number}, event_type="E")
            await kafka.settle()
            assert len(kafka.records("orders.g.dlq")) == 10

    async def test_headers_in_springs_style_have_the_first_origin(self) -> None:
        seen = Seen(failing={1})
        policy = {**TIERS, "dead_letter_header_style": "spring"}
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen, policy)):  # type: ignore[arg-type]
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.settle()
        [dead] = kafka.records("orders.g.dlq")
        assert dead.header("kafka_dlt-original-topic") == b"orders"
        assert dead.header("evkafka-dlq-id") == b"g/memory/orders:topic-0/0/0"
        assert dead.header("evkafka-dlq-attempts") == b"6"
        assert not [name for name, _ in dead.headers if name.startswith("evkafka-retry-")]


class TestRecordsThatSkipTheRetryTopics:
    async def test_non_retryable_errors(self) -> None:
        seen = Seen(failing={1})
        policy = {**TIERS, "non_retryable": [ConnectionError]}
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen, policy)):  # type: ignore[arg-type]
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.settle()
        assert seen.of(1) == [1]
        assert len(kafka.records("orders.g.dlq")) == 1
        assert kafka.records("orders.g.retry.5000") == []

    async def test_values_that_cannot_be_decoded(self) -> None:
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(Seen())):
            await kafka.send("orders", b"{no json", event_type="E")
            await kafka.settle()
        [dead] = kafka.records("orders.g.dlq")
        assert dead.value == b"{no json"
        assert kafka.records("orders.g.retry.5000") == []

    async def test_dead_letters_that_the_endpoint_asks_for(self) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_event(event: dict[str, Any], request: Request) -> None:
            if request.attempt == 3:
                raise DeadLetter("hopeless")
            raise ConnectionError

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_with(handler)):
            await kafka.send("orders", {}, event_type="E")
            await kafka.settle()
        [dead] = kafka.records("orders.g.dlq")
        assert dead.header("evkafka-dlq-error-message") == b"hopeless"
        assert dead.header("evkafka-dlq-attempts") == b"3"
        assert kafka.records("orders.g.retry.60000") == []


class TestAnAttempt:
    async def test_that_asks_for_a_retry_counts_as_a_failed_one(self) -> None:
        attempts = []
        handler = Handler()

        @handler.event("E")
        async def on_event(event: dict[str, Any], request: Request) -> None:
            attempts.append(request.attempt)
            raise Retry(after_ms=20)

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_with(handler)):
            await kafka.send("orders", {}, event_type="E")
            await kafka.settle()
        assert attempts == [1, 2, 3, 4, 5, 6]
        [dead] = kafka.records("orders.g.dlq")
        assert dead.header("evkafka-dlq-error-message") == b"attempt 2 of 2 failed"

    async def test_is_reported_as_retried_with_its_wait(self) -> None:
        seen = Seen(failing={1})
        app = app_of(seen)
        failed: list[AttemptFailed] = []
        ended: list[RecordsProcessed] = []
        app.telemetry.listen(AttemptFailed, failed.append)
        app.telemetry.listen(RecordsProcessed, ended.append)
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.settle()
        assert [(one.consumer, one.topic, one.decision, one.retry_in_s) for one in failed] == [
            ("orders", "orders", "wait", 0.01),
            ("orders", "orders", "retry_topic", 5.0),
            ("orders.retry", "orders.g.retry.5000", "wait", 0.01),
            ("orders.retry", "orders.g.retry.5000", "retry_topic", 60.0),
            ("orders.retry", "orders.g.retry.60000", "wait", 0.01),
            ("orders.retry", "orders.g.retry.60000", "dead_letter", 0.0),
        ]
        statuses = [status for one in ended for _, status in one.durations_s]
        assert statuses == ["retried"] * 5 + ["dead_lettered"]


class TestAnEventType:
    async def test_may_have_retry_topics_of_its_own_or_none(self) -> None:
        handler, attempts = Handler(), []

        async def fail(name: str) -> None:
            attempts.append(name)
            raise ConnectionError

        @handler.event("Usual")
        async def usual(event: dict[str, Any]) -> None:
            await fail("usual")

        @handler.event("Own", on_error={"retry_topics": [1_000], "max_attempts": 1})
        async def own(event: dict[str, Any]) -> None:
            await fail("own")

        @handler.event("None", on_error={"retry_topics": None})
        async def none(event: dict[str, Any]) -> None:
            await fail("none")

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_with(handler)):
            for event_type in ("Usual", "Own", "None"):
                await kafka.send("orders", {}, event_type=event_type)
            await kafka.settle()
            assert {name: attempts.count(name) for name in attempts} == {"usual": 6, "own": 2, "none": 2}
            for topic, count in (("1000", 1), ("5000", 1), ("60000", 1)):
                assert len(kafka.records(f"orders.g.retry.{topic}")) == count
            assert len(kafka.records("orders.g.dlq")) == 3

    async def test_is_that_of_the_topic_if_records_have_none(self) -> None:
        seen = Seen(failing={1})
        app = app_of(seen, topics=[{"name": "orders", "event_type": "E"}])
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            await kafka.send("orders", {"number": 1})
            await kafka.settle()
        assert len(seen.of(1)) == 6


class TestManyInFlight:
    @pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
    async def test_each_is_retried_on_its_own(self, ordering: str) -> None:
        seen = Seen(failing=set(range(0, 40, 4)))
        app = app_of(seen, concurrency=8, ordering=ordering)
        async with InMemoryKafka(seed=1, partitions=2) as kafka, kafka.running(app):
            for number in range(40):
                await kafka.send("orders", {"number": number}, event_type="E", key=str(number % 7))
            await kafka.settle()
            dead = kafka.records("orders.g.dlq")
        assert sorted(record.json()["number"] for record in dead) == list(range(0, 40, 4))
        for record in dead:
            first = next(one for one in kafka.records("orders") if one.value == record.value)
            assert (record.key, record.partition) == (first.key, first.partition)

    @pytest.mark.parametrize("middleware", [None, [Middleware(Through), Middleware(JsonTypedDecoderMiddleware)]])
    async def test_failed_records_of_a_batch_wait_and_are_retried_as_a_batch(
        self, middleware: list[Middleware] | None
    ) -> None:
        handler, batches = Handler(), []

        @handler.event("E", batch=True, max_records=10)
        async def on_events(events: list[dict[str, Any]], requests: list[Request]) -> None:
            batches.append([(request.offset, request.attempt) for request in requests])
            if requests[0].attempt < 4:
                raise ConnectionError

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_with(handler, middleware)):
            for number in range(3):
                await kafka.send("orders", {"number": number}, event_type="E")
            await kafka.settle()
            assert kafka.records("orders.g.retry.60000") == []
        assert [batch[0] for batch in batches if batch[0][0] == 0] == [(0, 1), (0, 2), (0, 3), (0, 4)]
        assert {offset for batch in batches for offset, attempt in batch if attempt == 4} == {0, 1, 2}


class TestWriting:
    async def test_is_confirmed_before_the_record_is_committed(self) -> None:
        seen = Seen(failing={1})
        app = app_of(seen)
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            await kafka.send("orders", {"number": 0}, event_type="E")
            await kafka.settle()
            kafka.fail_sends("refused", "timed out, lost", topic="orders.g.retry.5000")
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.advance(ms=20_000)
            kafka.assert_committed(group="g", topic="orders", offset=1)
            await kafka.settle()
            assert seen.of(1) == [1, 2, 3, 4, 5, 6]
            kafka.assert_committed(group="g", topic="orders", offset=2)

    async def test_stops_the_app_if_the_record_does_not_fit(self) -> None:
        seen = Seen(failing={1})
        large = {"number": 1, "text": "x" * 1_048_350}
        async with InMemoryKafka(seed=1) as kafka:
            await kafka.send("orders", large, event_type="E")
            with pytest.raises(StopApp, match=r"orders\[0\]@0 does not fit into orders\.g\.retry"):
                await run(kafka, app_of(seen))
            kafka.assert_committed(group="g", topic="orders", offset=0)


class TestTheConsumerOfRetryTopics:
    async def test_is_paused_and_resumed_by_its_name(self) -> None:
        seen = Seen(failing={1})
        app = app_of(seen)
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            app.consumer("orders.retry").pause("orders.g.retry.5000", 0)
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.advance(ms=20_000)
            assert seen.of(1) == [1, 2]
            app.consumer("orders.retry").resume("orders.g.retry.5000", 0)
            await kafka.settle()
            assert len(seen.of(1)) == 6

    async def test_continues_at_the_offset_of_a_seek(self) -> None:
        seen = Seen(failing={1})
        app = app_of(seen)
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.settle()
            seen.failing.clear()
            app.consumer("orders.retry").seek("orders.g.retry.60000", 0, 0)
            await kafka.settle()
            assert seen.of(1) == [1, 2, 3, 4, 5, 6, 5]

    async def test_has_as_many_partitions_as_its_source(self) -> None:
        async with InMemoryKafka(seed=1) as kafka:
            kafka.create_topic("orders", 5)
            async with kafka.running(app_of(Seen())):
                await kafka.settle()
                assert len(kafka.topics.partitions("orders.g.retry.60000")) == 5

    async def test_needs_a_name(self) -> None:
        app = app_of(Seen())
        app.add_consumer({"topics": ["others"], "group_id": "g"}, Handler(), "orders.retry")
        async with InMemoryKafka(seed=1) as kafka:
            with pytest.raises(
                StartFailed, match="'orders' has retry topics, and the consumer that reads them has the same name"
            ):
                async with kafka.running(app):
                    pass

    def test_exists_only_if_there_are_retry_topics(self) -> None:
        with pytest.raises(ConfigError, match=r"its consumers: 'orders'$"):
            app_with(Handler(), on_error={}).consumer("orders.retry")
