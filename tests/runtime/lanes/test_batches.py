"""Batch endpoints in the engine: how batches are formed, and the verdict on each record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import BatchError, DeadLetter, EVKafkaApp, Handler, Middleware, Request, Retry, Skip
from evkafka.context import Context
from evkafka.exceptions import StopApp
from evkafka.middleware import JsonTypedDecoderMiddleware
from evkafka.telemetry import AttemptFailed, RecordsProcessed
from tests.support.engine import GROUP, TOPIC, Bench

QUICK: dict[str, Any] = {"backoff_ms": 1000, "jitter": 0}

Body = Callable[[list[bytes], list[Request]], object]


class Batches(list[list[bytes]]):
    """The records and the attempt number that a batch endpoint got, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[int] = []
        self.body: Body = lambda values, requests: None


@pytest.fixture
def batches() -> Batches:
    return Batches()


def handler_for(batches: Batches, **options: Any) -> Handler:
    handler = Handler()

    @handler.event("E", batch=True, **options)
    async def on_batch(values: list[bytes], requests: list[Request]) -> object:
        batches.append(values)
        batches.attempts.append(requests[0].attempt)
        return batches.body(values, requests)

    return handler


def failing(*values: bytes, until_attempt: int = 2) -> Body:
    """These records fail, each by itself, in every attempt before this one."""

    def body(given: list[bytes], requests: list[Request]) -> None:
        if requests[0].attempt < until_attempt:
            failed = {index: ValueError(value) for index, value in enumerate(given) if value in values}
            if failed:
                raise BatchError(failed)

    return body


async def letters(bench: Bench, text: str, **options: Any) -> None:
    for letter in text:
        await bench.send(letter.encode(), **options)


class TestMakingUp:
    async def test_available_records_form_a_batch_in_order(self, bench: Bench, batches: Batches) -> None:
        await letters(bench, "abcde")
        async with bench.running(handler_for(batches)):
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c", b"d", b"e"]]
        assert bench.committed() == 5

    async def test_a_batch_has_at_most_max_records(self, bench: Bench, batches: Batches) -> None:
        await letters(bench, "abcde")
        async with bench.running(handler_for(batches, max_records=2)):
            await bench.kafka.settle()
        assert batches == [[b"a", b"b"], [b"c", b"d"], [b"e"]]

    async def test_the_first_record_waits_at_most_max_wait_ms_for_more(self, bench: Bench, batches: Batches) -> None:
        async with bench.running(handler_for(batches, max_wait_ms=1000)):
            await bench.send(b"a")
            await bench.kafka.advance(ms=600)
            await bench.send(b"b")
            await bench.kafka.advance(ms=300)
            assert batches == []
            await bench.kafka.advance(ms=200)
            assert batches == [[b"a", b"b"]]  # counted from the first record, not from the last

    async def test_a_full_batch_does_not_wait(self, bench: Bench, batches: Batches) -> None:
        await letters(bench, "ab")
        async with bench.running(handler_for(batches, max_records=2, max_wait_ms=60_000)):
            await bench.until(lambda: batches, ms=1000)

    async def test_a_full_partition_does_not_wait_for_records_that_are_not_read(
        self, bench: Bench, batches: Batches
    ) -> None:
        await bench.send(*(b"%d" % number for number in range(40)))
        keys = {"max_pending_records": 20, "max_poll_records": 10}
        async with bench.running(handler_for(batches, max_records=100, max_wait_ms=60_000), **keys):
            await bench.until(lambda: batches, ms=1000)
        assert [len(batch) for batch in batches] == [10] * len(batches)

    async def test_a_batch_has_records_of_one_partition(self, bench: Bench, batches: Batches) -> None:
        await letters(bench, "ab", partition=0)
        await letters(bench, "xy", partition=1)
        async with bench.running(handler_for(batches), concurrency=4):
            await bench.kafka.settle()
        assert sorted(batches) == [[b"a", b"b"], [b"x", b"y"]]

    async def test_by_key_a_batch_has_records_of_several_lanes(self, bench: Bench, batches: Batches) -> None:
        for value, key in [(b"a1", "a"), (b"b1", "b"), (b"a2", "a"), (b"free", None), (b"b2", "b")]:
            await bench.send(value, key=key)
        async with bench.running(handler_for(batches), concurrency=4):
            await bench.kafka.settle()
        assert batches == [[b"a1", b"b1", b"a2", b"free", b"b2"]]

    async def test_at_concurrency_one_other_types_run_between_the_batches_in_order(
        self, bench: Bench, batches: Batches
    ) -> None:
        handler = handler_for(batches, max_wait_ms=60_000)

        @handler.event("Other")
        async def on_other(value: bytes) -> None:
            batches.append([b"other " + value])

        await letters(bench, "ab")
        await bench.send(b"x", event_type="Other")
        await letters(bench, "cd")
        await bench.send(b"y", event_type="Other")
        async with bench.running(handler):
            await bench.until(lambda: len(batches) == 4, ms=2000)  # nothing waits: nothing could come to it
            await bench.kafka.settle()
        assert batches == [[b"a", b"b"], [b"other x"], [b"c", b"d"], [b"other y"]]
        assert bench.committed() == 6

    async def test_by_key_another_type_waits_for_the_batch_that_has_its_key(
        self, bench: Bench, batches: Batches
    ) -> None:
        handler, order = handler_for(batches, max_wait_ms=1000), []
        batches.body = lambda values, requests: order.extend(values)

        @handler.event("Other")
        async def on_other(value: bytes) -> None:
            order.append(value)

        await bench.send(b"a1", key="a")
        await bench.send(b"a2", key="a", event_type="Other")
        await bench.send(b"b1", key="b", event_type="Other")
        await bench.send(b"a3", key="a")
        async with bench.running(handler, concurrency=4):
            await bench.kafka.settle()
        assert order == [b"b1", b"a1", b"a2", b"a3"]
        assert bench.committed() == 4

    async def test_pre_commit_takes_batches_too(self, bench: Bench, batches: Batches) -> None:
        await letters(bench, "abc")
        batches.body = failing(b"b", until_attempt=9)
        async with bench.running(handler_for(batches), auto_commit_mode="pre-commit"):
            await bench.until(lambda: bench.committed() == 3)
        assert batches == [[b"a", b"b", b"c"]]

    async def test_a_record_without_a_value_is_unmatched(self, bench: Bench, batches: Batches) -> None:
        await bench.send(b"a")
        await bench.kafka.send(TOPIC, None, "E", partition=0)
        await bench.send(b"b")
        async with bench.running(handler_for(batches)):
            await bench.kafka.settle()
        assert batches == [[b"a"], [b"b"]]
        assert bench.committed() == 3


class TestTheWholeBatchFails:
    async def test_the_same_batch_is_retried_with_one_count_of_attempts(self, bench: Bench, batches: Batches) -> None:
        def body(values: list[bytes], requests: list[Request]) -> None:
            if requests[0].attempt < 3 and b"a" in values:
                raise ValueError("all of it")

        batches.body = body
        await letters(bench, "abc")
        async with bench.running(handler_for(batches), on_error=QUICK):
            await bench.until(lambda: len(batches) == 1)
            await bench.send(b"later")
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c"]] * 3 + [[b"later"]]
        assert batches.attempts == [1, 2, 3, 1]

    async def test_by_key_other_keys_continue_meanwhile(self, bench: Bench, batches: Batches) -> None:
        def body(values: list[bytes], requests: list[Request]) -> None:
            if values == [b"a1", b"b1"] and requests[0].attempt == 1:
                raise ValueError

        batches.body = body
        await bench.send(b"a1", key="a")
        await bench.send(b"b1", key="b")
        async with bench.running(handler_for(batches), concurrency=2, on_error={**QUICK, "backoff_ms": 10_000}):
            await bench.until(lambda: len(batches) == 1)
            await bench.send(b"a2", key="a")
            await bench.send(b"c1", key="c")
            await bench.until(lambda: len(batches) == 2, ms=1000)
            await bench.kafka.settle()
        assert batches == [[b"a1", b"b1"], [b"c1"], [b"a1", b"b1"], [b"a2"]]

    async def test_after_the_last_attempt_each_record_is_dead_lettered(self, bench: Bench, batches: Batches) -> None:
        batches.body = failing_all
        await letters(bench, "abc")
        policy = {**QUICK, "max_attempts": 2, "then": "dead_letter"}
        async with bench.running(handler_for(batches), on_error=policy):
            await bench.kafka.settle()
        assert len(batches) == 2
        assert sorted(record.value or b"" for record in bench.kafka.records("t.g.dlq")) == [b"a", b"b", b"c"]
        assert bench.committed() == 3

    async def test_at_a_stop_none_of_its_records_is_committed(self, bench: Bench, batches: Batches) -> None:
        batches.body = failing_all
        await letters(bench, "abc")
        with pytest.raises(StopApp, match=r"t\[0\]@0"):
            async with bench.running(handler_for(batches), on_error={**QUICK, "max_attempts": 1}):
                await bench.until(lambda: bench.app.service is not None and bench.app.service.failure)
        assert bench.committed() == 0

    async def test_past_its_time_limit_it_is_cancelled_and_retried(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E", batch=True, timeout_ms=1000)
        async def on_batch(values: list[bytes], requests: list[Request]) -> None:
            seen.append(requests[0].attempt)
            if requests[0].attempt == 1:
                await asyncio.Event().wait()

        await letters(bench, "abc")
        async with bench.running(handler, on_error=QUICK):
            await bench.until(lambda: seen == [1, 2])
            await bench.kafka.settle()
        assert bench.committed() == 3

    @pytest.mark.parametrize("outcome", [Skip("no"), Skip])
    async def test_a_returned_outcome_applies_to_every_record(
        self, bench: Bench, batches: Batches, outcome: Any
    ) -> None:
        batches.body = lambda values, requests: outcome
        statuses: list[str] = []
        bench.app.telemetry.listen(
            RecordsProcessed, lambda e: statuses.extend(s for (_, s), d in e.durations_s.items() for _ in d)
        )
        await letters(bench, "abc")
        async with bench.running(handler_for(batches)):
            await bench.kafka.settle()
        assert statuses == ["skipped"] * 3
        assert bench.committed() == 3

    async def test_a_returned_retry_retries_the_batch(self, bench: Bench, batches: Batches) -> None:
        batches.body = lambda values, requests: Retry(after_ms=50) if requests[0].attempt == 1 else None
        await letters(bench, "abc")
        async with bench.running(handler_for(batches)):
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c"]] * 2


def failing_all(values: list[bytes], requests: list[Request]) -> None:
    raise ValueError("all of it")


class TestSomeRecordsFail:
    async def test_by_key_only_those_and_the_records_behind_them_are_retried(
        self, bench: Bench, batches: Batches
    ) -> None:
        batches.body = failing(b"a1")
        for value, key in [(b"a1", "a"), (b"b1", "b"), (b"a2", "a"), (b"b2", "b"), (b"free", None)]:
            await bench.send(value, key=key)
        async with bench.running(handler_for(batches), concurrency=4, on_error=QUICK):
            await bench.kafka.settle()
        assert batches == [[b"a1", b"b1", b"a2", b"b2", b"free"], [b"a1"], [b"a2"]]
        assert batches.attempts == [1, 2, 1]
        assert bench.committed() == 5

    async def test_by_partition_all_records_behind_it_count_as_not_done(self, bench: Bench, batches: Batches) -> None:
        batches.body = failing(b"b")
        await letters(bench, "abcd")
        async with bench.running(handler_for(batches), on_error=QUICK):
            await bench.until(lambda: len(batches) == 1)
            await bench.kafka.advance(ms=500)
            assert bench.committed() == 1
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c", b"d"], [b"b"], [b"c", b"d"]]
        assert bench.committed() == 4

    async def test_a_record_without_a_key_blocks_no_other(self, bench: Bench, batches: Batches) -> None:
        batches.body = failing(b"b", b"d")
        await letters(bench, "abcde")
        async with bench.running(handler_for(batches), concurrency=2, on_error=QUICK):
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c", b"d", b"e"], [b"b", b"d"]]  # again together: as many attempts
        assert batches.attempts == [1, 2]

    async def test_each_has_its_own_verdict_by_the_policy(self, bench: Bench, batches: Batches) -> None:
        batches.body = failing(b"b", until_attempt=9)
        await letters(bench, "abc")
        policy = {**QUICK, "max_attempts": 2, "then": "dead_letter"}
        async with bench.running(handler_for(batches), concurrency=2, on_error=policy):
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c"], [b"b"]]
        [dead] = bench.kafka.records("t.g.dlq")
        assert dead.value == b"b"
        assert dict(dead.headers)["evkafka-dlq-attempts"] == b"2"
        assert bench.committed() == 3

    async def test_outcomes_apply_to_their_records_at_once(self, bench: Bench, batches: Batches) -> None:
        def body(values: list[bytes], requests: list[Request]) -> None:
            if len(values) > 1:
                raise BatchError({1: DeadLetter("bad"), 2: Skip(), 3: Retry(after_ms=10)})

        batches.body = body
        await letters(bench, "abcd")
        async with bench.running(handler_for(batches)):
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c", b"d"], [b"d"]]
        assert [record.value for record in bench.kafka.records("t.g.dlq")] == [b"b"]
        assert bench.committed() == 4

    async def test_finished_records_are_committed_if_one_stops_the_app(self, bench: Bench, batches: Batches) -> None:
        batches.body = failing(b"b", until_attempt=9)
        await letters(bench, "abc")
        with pytest.raises(StopApp, match=r"t\[0\]@1"):
            async with bench.running(handler_for(batches), on_error={**QUICK, "max_attempts": 1}):
                await bench.until(lambda: bench.app.service is not None and bench.app.service.failure)
        assert bench.committed() == 1


class Order(BaseModel):
    number: int


class TestUndecodable:
    @pytest.fixture
    def seen(self) -> list[Any]:
        return []

    @pytest.fixture
    def orders(self, seen: list[Any]) -> Handler:
        handler = Handler()

        @handler.event("E", batch=True)
        async def on_orders(orders: list[Order]) -> None:
            seen.append([order.number for order in orders])

        return handler

    async def test_with_max_attempts_it_is_settled_before_the_others_run(
        self, bench: Bench, orders: Handler, seen: list[Any]
    ) -> None:
        for value in (b'{"number": 1}', b"no", b'{"number": 3}'):
            await bench.send(value)
        async with bench.running(orders, on_error={"max_attempts": 5, "then": "dead_letter"}):
            await bench.kafka.settle()
        assert seen == [[1, 3]]
        assert [record.value for record in bench.kafka.records("t.g.dlq")] == [b"no"]
        assert bench.committed() == 3

    async def test_without_max_attempts_it_waits_and_blocks_the_records_behind_it(
        self, bench: Bench, orders: Handler, seen: list[Any]
    ) -> None:
        for value in (b'{"number": 1}', b"no", b'{"number": 3}'):
            await bench.send(value)
        async with bench.running(orders, on_error=QUICK):
            await bench.kafka.advance(ms=10_000)
            assert seen == [[1]]
            assert bench.committed() == 1

    async def test_by_key_it_blocks_only_its_key(self, bench: Bench, orders: Handler, seen: list[Any]) -> None:
        await bench.send(b"no", b'{"number": 1}', key="a")
        await bench.send(b'{"number": 2}', b'{"number": 3}', key="b")
        async with bench.running(orders, concurrency=2, on_error=QUICK):
            await bench.kafka.advance(ms=10_000)
            assert seen == [[2, 3]]
            assert bench.committed() == 0

    @pytest.mark.parametrize("ordering", ["key", "unordered"])
    async def test_without_order_it_blocks_no_other_and_does_not_reach_the_endpoint(
        self, bench: Bench, orders: Handler, seen: list[Any], ordering: str
    ) -> None:
        await bench.send(b'{"number": 1}', b"no", b'{"number": 3}')
        async with bench.running(orders, concurrency=2, ordering=ordering, on_error=QUICK):
            await bench.kafka.advance(ms=10_000)
            assert seen == [[1, 3]]
            assert bench.committed() == 1
            assert bench.consumer.pending == 1

    async def test_records_that_failed_before_it_are_retried_before_it(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E", batch=True)
        async def on_orders(orders: list[Order], requests: list[Request]) -> None:
            seen.append([order.number for order in orders])
            if requests[0].attempt == 1:
                raise ValueError("all of it")

        for value in (b'{"number": 1}', b'{"number": 2}', b"no"):
            await bench.send(value)
        async with bench.running(handler, on_error=QUICK):
            await bench.kafka.advance(ms=10_000)
            assert seen == [[1, 2], [1, 2]]
            assert bench.committed() == 2


class TestTheCountOfAttempts:
    async def test_of_finished_records_does_not_stay_until_the_next_commit(self, bench: Bench) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_single(value: bytes, request: Request) -> None:
            if request.attempt == 1 or value == b"poison":
                raise ValueError

        @handler.event("Thread")
        def on_single_in_thread(value: bytes, request: Request) -> None:
            if request.attempt == 1:
                raise ValueError

        @handler.event("Batch", batch=True)
        async def on_batch(values: list[bytes], requests: list[Request]) -> None:
            if requests[0].attempt == 1:
                raise ValueError

        @handler.event("Parts", batch=True)
        async def on_parts(values: list[bytes], requests: list[Request]) -> None:
            failed = {index: Skip() if request.attempt > 1 else ValueError() for index, request in enumerate(requests)}
            raise BatchError(failed)

        policy = {"backoff_ms": 10, "max_attempts": 2, "then": "dead_letter"}
        for event_type in ("E", "Thread", "Batch", "Parts"):
            for key in "abcd":
                await bench.send(b"x", key=key, event_type=event_type)
        await bench.send(b"poison", key="e")
        async with bench.running(handler, concurrency=4, auto_commit_interval_ms=3_600_000, on_error=policy):
            assignment = bench.consumer._assignment
            await bench.until(lambda: assignment.total_finished_records() == 17)
            counts = [partition.failed_attempts for partition in assignment.partitions.values()]
            assert counts == [{}, {}]


class Halt(Exception):
    """Stops the app at once."""


class FailsAtA:
    """A middleware that fails for records of the key `a`."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, context: Context) -> None:
        if context.message.key == b"a":
            raise ValueError("by the middleware")
        await self._app(context)


async def waits() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError


async def runs_out_of_memory() -> None:
    raise MemoryError


async def halts() -> None:
    raise BatchError({0: ValueError(), 1: Halt()})


async def asks_for_dead_letters() -> None:
    raise BatchError({0: ValueError(), 1: DeadLetter(), 2: DeadLetter()})


class TestAFailedAttemptCountsForTheNextOwner:
    """The first record of a batch has failed, and its app ends before it is tried again."""

    async def failed_attempts(
        self, bench: Bench, ends: Callable[[], Awaitable[None]], stack: list[Middleware] | None, policy: dict[str, Any]
    ) -> list[int]:
        """Run an app for a second, or until it stops; returns the first record's attempts that have failed."""
        handler, failed = Handler(), []

        @handler.event("E", batch=True, max_records=3)
        async def on_orders(orders: list[Order]) -> None:
            await ends()

        def on_failed(event: AttemptFailed) -> None:
            if event.offset == 0:
                failed.append(event.attempt)

        own = Bench(bench.kafka)
        own.app = EVKafkaApp(middleware=stack)
        own.app.telemetry.listen(AttemptFailed, on_failed)
        with suppress(StopApp):
            async with own.running(
                handler, concurrency=2, drain_timeout_ms=100, on_error={"backoff_ms": 3_000, **policy}
            ):
                await bench.kafka.advance(ms=1_000)
        return failed

    @pytest.mark.parametrize("stack", [None, [Middleware(FailsAtA), Middleware(JsonTypedDecoderMiddleware)]])
    @pytest.mark.parametrize("ends", [waits, runs_out_of_memory])
    async def test_if_the_rest_of_the_batch_does_not_end(
        self, bench: Bench, ends: Callable[[], Awaitable[None]], stack: list[Middleware] | None
    ) -> None:
        for key, value in {"a": b"no", "b": b'{"number": 2}', "c": b'{"number": 3}'}.items():
            await bench.send(value, key=key)
        assert await self.failed_attempts(bench, ends, stack, {}) == [1]
        assert await self.failed_attempts(bench, fails, stack, {}) == [2]

    @pytest.mark.parametrize(
        ("ends", "policy"),
        [
            (halts, {"max_attempts": 9, "then": "stop", "non_retryable": [Halt]}),
            (asks_for_dead_letters, {"max_attempts": 9, "dead_letter_limit": {"consecutive": 1}}),
        ],
    )
    async def test_if_another_record_of_the_batch_stops_the_app(
        self, bench: Bench, ends: Callable[[], Awaitable[None]], policy: dict[str, Any]
    ) -> None:
        for key in "abc":
            await bench.send(b'{"number": 1}', key=key)
        assert await self.failed_attempts(bench, ends, None, policy) == [1]
        assert await self.failed_attempts(bench, fails, None, {**policy, "dead_letter_limit": None}) == [2]


class TestGivingBack:
    async def test_a_running_batch_ends_and_is_committed_and_gathered_records_are_dropped(self, bench: Bench) -> None:
        handler, go, seen = Handler(), asyncio.Event(), []

        @handler.event("E", batch=True, max_records=2, max_wait_ms=60_000)
        async def on_batch(values: list[bytes]) -> None:
            seen.append(values)
            await go.wait()

        await letters(bench, "abc")
        async with bench.running(handler, revoke_drain_timeout_ms=5000):
            await bench.until(lambda: seen)
            bench.kafka.group("g").start_full_rebalance()
            await bench.kafka.advance(ms=100)
            go.set()
            await bench.until(lambda: bench.committed() == 2)
            await bench.send(b"d")
            await bench.kafka.settle()
        assert seen == [[b"a", b"b"], [b"c", b"d"]]
        assert bench.committed() == 4

    async def test_a_batch_that_waits_for_its_next_attempt_is_dropped(self, bench: Bench, batches: Batches) -> None:
        batches.body = lambda values, requests: failing_all(values, requests) if len(batches) == 1 else None
        await letters(bench, "ab", key="k")
        async with bench.running(handler_for(batches), concurrency=2, on_error={"backoff_ms": 30_000, "jitter": 0}):
            await bench.until(lambda: len(batches) == 1)
            await bench.kafka.rebalance("g")
            await bench.kafka.settle()
        assert batches == [[b"a", b"b"], [b"a", b"b"]]  # with what was tried as often before
        assert batches.attempts == [1, 2]

    @pytest.mark.parametrize("keys", [{}, {"concurrency": 8}, {"concurrency": 8, "ordering": "partition"}])
    @pytest.mark.parametrize("key", ["k", None])
    async def test_the_next_owner_continues_to_count_the_attempts_of_every_record(
        self, bench: Bench, batches: Batches, keys: dict[str, Any], key: str | None
    ) -> None:
        batches.body = failing_all
        policy = {"backoff_ms": 4000, "jitter": 0, "backoff_multiplier": 1, "max_attempts": 5, "then": "skip"}
        await letters(bench, "abc", key=key)
        async with bench.running(handler_for(batches), on_error=policy, **keys):
            for _ in range(2):
                await bench.kafka.advance(ms=6000)
                await bench.kafka.rebalance(GROUP)
            await bench.kafka.settle()
        assert batches == [[b"a", b"b", b"c"]] * 5
        assert batches.attempts == [1, 2, 3, 4, 5]

    async def test_pre_commit_gathered_records_still_run_at_a_stop(self, bench: Bench, batches: Batches) -> None:
        await letters(bench, "ab")
        keys = {"auto_commit_mode": "pre-commit"}
        async with bench.running(handler_for(batches, max_wait_ms=3_600_000), **keys):
            await bench.until(lambda: bench.consumer.pending == 2)
        assert batches == [[b"a", b"b"]]

    @pytest.mark.parametrize("keys", [{}, {"concurrency": 4}])
    async def test_the_next_assignment_waits_for_a_batch_that_still_runs_in_a_thread(
        self, bench: Bench, keys: dict[str, Any]
    ) -> None:
        handler, go, seen = Handler(), threading.Event(), []

        @handler.event("E", batch=True)
        def on_batch(values: list[bytes]) -> None:
            seen.append(values)
            if len(seen) == 1:
                go.wait(60)

        await letters(bench, "ab", key="k")
        async with bench.running(handler, revoke_drain_timeout_ms=1000, **keys):
            await bench.until(lambda: seen)
            await bench.kafka.rebalance(GROUP)
            await bench.kafka.advance(ms=10_000)
            assert seen == [[b"a", b"b"]]
            assert bench.committed() == 0
            go.set()
            await bench.kafka.settle()
        assert seen == [[b"a", b"b"]] * 2
        assert bench.committed() == 2
