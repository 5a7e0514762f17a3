"""What an exactly-once endpoint sends: it is kept, and written with the offset of its record, or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

import pytest

from evkafka import (
    BatchError,
    ConfigError,
    Context,
    DeadLetter,
    Depends,
    EVKafkaProducer,
    Middleware,
    Request,
    Skip,
)
from evkafka.exceptions import RecordTooLarge
from evkafka.middleware import JsonTypedDecoderMiddleware
from evkafka.records import RecordMetadata
from evkafka.telemetry import AttemptFailed, ConsumerLost
from tests.runtime.transactions.conftest import GROUP, IN, OUT, Relay, fail

LARGE = {"max_request_size": 4_000_000}
ONCE: dict[str, Any] = {"on_error": {"max_attempts": 1, "then": "skip"}}


def failures(relay: Relay) -> list[BaseException | None]:
    """Why attempts have failed; filled as they do."""
    errors: list[BaseException | None] = []
    relay.app.telemetry.listen(AttemptFailed, lambda event: errors.append(event.error))
    return errors


class TestAKeptSend:
    async def test_is_visible_with_the_commit_of_its_record_and_not_before(self, relay: Relay) -> None:
        await relay.feed(b"a")
        async with relay.running(transaction_interval_ms=500):
            await relay.kafka.advance(ms=100)
            assert relay.handled == [b"a"]
            assert relay.written == []
            await relay.kafka.settle()
            assert relay.out == [b"a"]
            assert relay.kafka.committed(GROUP, IN, 0) == 1

    async def test_returns_metadata_without_an_offset(self, relay: Relay) -> None:
        sent: list[RecordMetadata] = []

        async def then(value: bytes, request: Request) -> None:
            sent.append(await relay.send_out(b"more", key="k", timestamp_ms=5))

        relay.then = then
        await relay.feed(b"a")
        async with relay.running():
            await relay.kafka.settle()
        assert sent == [RecordMetadata(OUT, 0, -1, 5, 0, -1)]

    async def test_of_one_attempt_are_written_in_order(self, relay: Relay) -> None:
        async def then(value: bytes, request: Request) -> None:
            await asyncio.gather(*(relay.send_out(value + b"%d" % number) for number in range(3)))

        relay.then = then
        await relay.feed(b"a", b"b")
        async with relay.running():
            await relay.kafka.settle()
        assert relay.out == [b"a", b"a0", b"a1", b"a2", b"b", b"b0", b"b1", b"b2"]

    async def test_to_a_missing_topic_fails_its_attempt(self, relay: Relay) -> None:
        relay.kafka.topics.auto_create = False
        missing = relay.declare("Missing", "missing")

        async def then(value: bytes, request: Request) -> None:
            if value == b"a":
                await missing(value)

        relay.then = then
        await relay.feed(b"a", b"b")
        async with relay.running(**ONCE):
            await relay.kafka.settle()
        assert relay.out == [b"b"]

    async def test_made_in_a_dependency_is_kept(self, relay: Relay) -> None:
        async def audit() -> AsyncIterator[None]:
            await relay.send_out(b"enter")
            yield
            await relay.send_out(b"exit")

        @relay.handler.event("D")
        async def depends(value: bytes, _: Annotated[None, Depends(audit)]) -> None:
            await relay.send_out(value)

        await relay.feed(b"a", event_type="D")
        async with relay.running(transaction_interval_ms=500):
            await relay.kafka.advance(ms=100)
            assert relay.written == []
            await relay.kafka.settle()
        assert relay.out == [b"enter", b"a", b"exit"]

    async def test_made_in_a_thread_is_kept(self, relay: Relay) -> None:
        @relay.handler.event("S")
        def in_thread(value: bytes, request: Request) -> None:
            relay.send_out.from_thread(value + b"%d" % request.attempt)
            if request.attempt == 1:
                raise ValueError(value)

        await relay.feed(b"a", b"b", event_type="S")
        async with relay.running(on_error={"backoff_ms": 0}):
            await relay.kafka.settle()
        assert relay.out == [b"a2", b"b2"]

    async def test_made_in_a_middleware_is_kept(self, relay: Relay) -> None:
        class Audit:
            def __init__(self, app: Callable[[Context], Coroutine[Any, Any, None]]) -> None:
                self.app = app

            async def __call__(self, context: Context) -> None:
                await self.app(context)
                await relay.send_out(b"audited")

        async def then(value: bytes, request: Request) -> None:
            if request.attempt == 1:
                raise ValueError(value)

        relay.then, relay.middleware = then, [Middleware(Audit)]
        await relay.feed(b"a")
        async with relay.running():
            await relay.kafka.settle()
        assert relay.out == [b"a", b"audited"]


class TestAFailedAttempt:
    async def test_drops_what_it_sent(self, relay: Relay) -> None:
        async def then(value: bytes, request: Request) -> None:
            await relay.send_out(b"%d" % request.attempt)
            if request.attempt < 3:
                raise ValueError(value)

        relay.then = then
        await relay.feed(b"a")
        async with relay.running(on_error={"backoff_ms": 0}):
            await relay.kafka.settle()
        assert relay.written == [b"a", b"3"]

    @pytest.mark.parametrize("then", ["skip", "dead_letter"])
    async def test_drops_what_it_sent_if_it_is_the_last_one(self, relay: Relay, then: str) -> None:
        relay.then = fail
        await relay.feed(b"a")
        async with relay.running(on_error={"max_attempts": 1, "then": then}):
            await relay.kafka.settle()
        assert relay.written == []
        assert relay.kafka.committed(GROUP, IN, 0) == 1

    async def test_before_a_record_without_an_endpoint_drops_what_it_sent(self, relay: Relay) -> None:
        relay.then = fail
        await relay.feed(b"a")
        await relay.feed(b"b", event_type="Unknown")
        async with relay.running(**ONCE):
            await relay.kafka.settle()
        assert relay.kafka.committed(GROUP, IN, 0) == 2
        assert relay.written == []

    async def test_drops_what_it_sent_if_it_is_past_its_time_limit(self, relay: Relay) -> None:
        async def hang(value: bytes, request: Request) -> None:
            if request.attempt == 1:
                await asyncio.get_running_loop().create_future()

        relay.then = hang
        await relay.feed(b"a")
        async with relay.running(max_endpoint_exec_time_ms=200, on_error={"backoff_ms": 0}):
            await relay.kafka.settle()
        assert relay.handled == [b"a", b"a"]
        assert relay.written == [b"a"]

    async def test_by_the_outcome_dead_letter_writes_the_dead_letter_alone(self, relay: Relay) -> None:
        async def bury(value: bytes, request: Request) -> object:
            return DeadLetter("by the test")

        relay.then = bury
        await relay.feed(b"a")
        async with relay.running():
            await relay.kafka.settle()
        assert relay.written == []
        assert [letter.value for letter in relay.kafka.records("in.g.dlq")] == [b"a"]

    async def test_by_the_outcome_skip_is_none(self, relay: Relay) -> None:
        async def skip(value: bytes, request: Request) -> object:
            return Skip("no more to do")

        relay.then = skip
        await relay.feed(b"a")
        async with relay.running():
            await relay.kafka.settle()
        assert relay.out == [b"a"]


class TestATaskThatOutlivesItsAttempt:
    async def test_cannot_send_in_it_any_more(self, relay: Relay) -> None:
        go_on, errors = asyncio.Event(), list[str]()
        tasks = []

        async def late() -> None:
            await go_on.wait()
            try:
                await relay.send_out(b"late")
            except RuntimeError as error:
                errors.append(str(error))

        async def then(value: bytes, request: Request) -> None:
            if value == b"a":
                tasks.append(asyncio.get_running_loop().create_task(late()))
            else:
                go_on.set()
                await tasks[0]

        relay.then = then
        await relay.feed(b"a", b"b")
        async with relay.running():
            await relay.kafka.settle()
        assert relay.out == [b"a", b"b"]
        [error] = errors
        assert "after the attempt at in[0]@0 had ended" in error
        assert "outside_transactions" in error


class TestOutside:
    async def test_a_producer_outside_transactions_sends_at_once(self, relay: Relay) -> None:
        relay.then = fail
        await relay.feed(b"a")
        async with relay.running(producer={"outside_transactions": True}, **ONCE):
            await relay.kafka.settle()
        assert relay.out == [b"a"]

    async def test_a_producer_of_another_cluster_is_refused(self, relay: Relay) -> None:
        failed = failures(relay)
        async with relay.running({"bootstrap_servers": "elsewhere:9092"}, **ONCE):
            await relay.feed(b"a")
            await relay.kafka.settle()
        [error] = failed
        assert isinstance(error, ConfigError)
        for part in ("'sends'", "elsewhere:9092 (cluster id memory-2)", "(cluster id memory)", "outside_transactions"):
            assert part in str(error)
        assert relay.written == []

    async def test_a_producer_of_another_cluster_may_be_outside_transactions(self, relay: Relay) -> None:
        await relay.feed(b"a")
        async with relay.running({"bootstrap_servers": "elsewhere:9092", "outside_transactions": True}, **ONCE):
            await relay.kafka.settle()
        assert relay.out == [b"a"]

    async def test_a_producer_that_the_endpoint_creates_itself_sends_at_once(self, relay: Relay) -> None:
        async def fail(value: bytes, request: Request) -> None:
            async with EVKafkaProducer({"topic": OUT}) as producer:
                await producer.send_event(b"own", "Own")
            raise ValueError(value)

        relay.then = fail
        await relay.feed(b"a")
        async with relay.running(**ONCE):
            await relay.kafka.settle()
        assert relay.out == [b"own"]

    async def test_a_send_of_a_task_of_the_app_is_written_at_once(self, relay: Relay) -> None:
        async with relay.running():
            metadata = await relay.send_out(b"by itself")
        assert metadata.offset == 0
        assert relay.out == [b"by itself"]

    async def test_in_other_modes_nothing_is_kept(self, relay: Relay) -> None:
        relay.then = fail
        await relay.feed(b"a")
        async with relay.running(auto_commit_mode="post-commit", **ONCE):
            await relay.kafka.settle()
        assert relay.out == [b"a"]


class TestTooLarge:
    """The brokers' limit is known only when they refuse a record."""

    async def test_an_output_that_is_too_large_is_the_failure_of_its_record(self, relay: Relay) -> None:
        errors = failures(relay)

        async def then(value: bytes, request: Request) -> None:
            if value == b"large":
                await relay.send_out(bytes(2_000_000))

        relay.then = then
        await relay.feed(b"a", b"large", b"b")
        async with relay.running(LARGE, **ONCE):
            await relay.kafka.settle()
        assert relay.out == [b"a", b"b"]
        [error] = errors
        assert isinstance(error, RecordTooLarge)

    @pytest.mark.parametrize("pause", [False, True])
    async def test_outputs_that_are_smaller_each_time_restart_the_consumer_once(
        self, relay: Relay, pause: bool
    ) -> None:
        errors, restarts = failures(relay), list[ConsumerLost]()
        relay.app.telemetry.listen(ConsumerLost, restarts.append)

        async def then(value: bytes, request: Request) -> None:
            await relay.send_out(bytes(int(value)))

        relay.then = then
        sizes = range(2_000_000, 1_100_000, -100_000)
        async with relay.running(LARGE, **ONCE):
            for size in sizes:
                await relay.feed(b"%d" % size)
                if pause:
                    await relay.kafka.settle()
            await relay.kafka.settle()
        assert len(restarts) == 1
        assert len(errors) == len(sizes)
        assert relay.out == []

    async def test_a_larger_one_that_fails_for_it_says_its_own_size(self, relay: Relay) -> None:
        errors = failures(relay)

        async def then(value: bytes, request: Request) -> None:
            await relay.send_out(bytes(int(value)))

        relay.then = then
        async with relay.running(LARGE, **ONCE):
            for size in (b"2000000", b"3000000"):
                await relay.feed(size)
                await relay.kafka.settle()
        texts = [str(error) for error in errors]
        limit = "is larger than the topic's max.message.bytes, which was at most 1048588 less than a minute ago"
        assert len(texts) == 2
        assert f"the record, 2000013 bytes as a batch, {limit}" in texts[0]
        assert f"the record, 3000013 bytes as a batch, {limit}" in texts[1]

    async def test_it_is_tried_again_after_a_minute(self, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evkafka.testing.memory.topics.MAX_MESSAGE_BYTES", 1_000)

        async def then(value: bytes, request: Request) -> None:
            if request.attempt == 5:
                monkeypatch.setattr("evkafka.testing.memory.topics.MAX_MESSAGE_BYTES", 100_000)
            await relay.send_out(bytes(2_000))

        relay.then = then
        await relay.feed(b"a")
        async with relay.running(on_error={"backoff_ms": 10_000, "backoff_multiplier": 1, "jitter": 0}):
            await relay.kafka.settle()
        assert relay.out == [b"a", bytes(2_000)]
        # The brokers refuse the first one. Six attempts, each 10 s, fail at once; the next is after the minute.
        assert len(relay.handled) == 8


class TestABatch:
    """What a batch has sent belongs to all of its records."""

    def add_batches(self, relay: Relay, fails: dict[bytes, int], calls: list[list[bytes]]) -> None:
        @relay.handler.event("B", batch=True)
        async def batch(values: list[bytes], requests: list[Request]) -> None:
            calls.append(values)
            failed: dict[int, BaseException] = {}
            for index, (value, request) in enumerate(zip(values, requests, strict=True)):
                await relay.send_out(value)
                if request.attempt <= fails.get(value, 0):
                    failed[index] = ValueError(value)
            if failed:
                raise BatchError(failed)

    async def test_is_written_together(self, relay: Relay) -> None:
        self.add_batches(relay, {}, calls := [])
        await relay.feed(b"a", b"b", b"c", event_type="B")
        async with relay.running():
            await relay.kafka.settle()
        assert calls == [[b"a", b"b", b"c"]]
        assert relay.written == [b"a", b"b", b"c"]

    @pytest.mark.parametrize("concurrency", [1, 4])
    async def test_runs_again_without_the_failed_records(self, relay: Relay, concurrency: int) -> None:
        self.add_batches(relay, {b"b": 100}, calls := [])
        await relay.feed(b"a", b"b", b"c", event_type="B")
        policy = {"max_attempts": 1, "then": "skip"}
        async with relay.running(concurrency=concurrency, on_error=policy):
            await relay.kafka.settle()
        assert calls[0] == [b"a", b"b", b"c"]
        assert sorted(relay.written, key=str) == [b"a", b"c"]
        assert relay.kafka.committed(GROUP, IN, 0) == 3

    async def test_whose_error_names_only_skips_is_written(self, relay: Relay) -> None:
        @relay.handler.event("B", batch=True)
        async def batch(values: list[bytes]) -> None:
            for value in values:
                await relay.send_out(value)
            raise BatchError({1: Skip("not wanted")})

        await relay.feed(b"a", b"b", b"c", event_type="B")
        async with relay.running():
            await relay.kafka.settle()
        assert relay.written == [b"a", b"b", b"c"]

    async def test_has_one_output_for_each_record_in_the_end(self, relay: Relay) -> None:
        self.add_batches(relay, {b"b": 2, b"c": 1}, [])
        await relay.feed(b"a", b"b", b"c", b"d", event_type="B")
        async with relay.running(concurrency=4, on_error={"backoff_ms": 50}):
            await relay.kafka.settle()
        assert sorted(relay.out, key=str) == [b"a", b"b", b"c", b"d"]

    @pytest.mark.parametrize("end", ["skip", "fail"])
    async def test_with_sends_of_a_middleware_has_one_output_for_each_record(self, relay: Relay, end: str) -> None:
        """A record ends in its middleware, after it has sent: before the endpoint runs with the others."""

        class Audit:
            def __init__(self, app: Callable[[Context], Coroutine[Any, Any, None]]) -> None:
                self.app = app

            async def __call__(self, context: Context) -> None:
                value = context.message.value or b""
                await relay.send_out(b"audit " + value)
                if value == b"b":
                    raise Skip("in the middleware") if end == "skip" else ValueError(value)
                await self.app(context)

        self.add_batches(relay, {b"c": 1}, [])
        relay.middleware = [Middleware(Audit), Middleware(JsonTypedDecoderMiddleware)]
        policy = {"max_attempts": 2, "backoff_ms": 10, "then": "skip"}
        await relay.feed(b"a", b"b", b"c", event_type="B")
        async with relay.running(concurrency=4, on_error=policy):
            await relay.kafka.settle()
        audited = [b"audit b"] if end == "skip" else []
        assert sorted(relay.written, key=str) == sorted([b"a", b"audit a", *audited, b"audit c", b"c"], key=str)
        assert relay.kafka.committed(GROUP, IN, 0) == 3

    async def test_that_fails_as_a_whole_drops_what_it_sent(self, relay: Relay) -> None:
        @relay.handler.event("B", batch=True)
        async def batch(values: list[bytes], requests: list[Request]) -> None:
            await relay.send_out(b"%d" % requests[0].attempt)
            if requests[0].attempt == 1:
                raise ValueError("all")

        await relay.feed(b"a", b"b", event_type="B")
        async with relay.running(on_error={"backoff_ms": 0}):
            await relay.kafka.settle()
        assert relay.written == [b"2"]
