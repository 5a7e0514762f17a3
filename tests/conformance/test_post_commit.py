"""The delivery table, post-commit: the outcomes of records and the commits."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from evkafka import DeadLetter, DecodeError, EndpointTimeout, Handler, Request, Retry, Skip
from evkafka.exceptions import StopApp
from tests.conformance.apps import Order, Seen, make_app
from tests.conformance.protocols import all_partitions_move, membership_matters
from tests.conformance.table import LANES, QUICK
from tests.support.backends import Backend, committed_is, stopping_app


class TestDone:
    async def test_a_record_whose_endpoint_returned_is_committed(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> str:
            seen.append(order.number)
            return "every other value means done"

        config = backend.config(topic)
        for number in range(3):
            await backend.send(topic, {"number": number})
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 3)
        assert seen == [0, 1, 2]

    async def test_a_plain_def_runs_in_a_thread(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        def on_event(value: bytes) -> None:
            seen.append(threading.current_thread() is threading.main_thread())

        config = backend.config(topic)
        await backend.send(topic, b"x")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert seen == [False]


class TestUnmatched:
    @pytest.mark.parametrize(
        ("value", "event_type", "reason"),
        [(b"x", None, "no_type"), (b"x", "Other", "no_endpoint"), (None, "E", "tombstone"), (None, None, "tombstone")],
    )
    async def test_is_skipped_counted_and_committed(
        self, backend: Backend, value: bytes | None, event_type: str | None, reason: str
    ) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            seen.append(value)

        config = backend.config(topic)
        await backend.send(topic, value, event_type)
        await backend.send(topic, b"last")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 2)
        assert seen == [b"last"]
        assert [(event.reason, event.count) for event in seen.unmatched] == [(reason, 1)]

    async def test_stops_the_app_if_configured(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            seen.append(value)

        config = backend.config(topic, unmatched="stop")
        await backend.send(topic, b"x")
        await backend.send(topic, b"y", "Other")
        app = make_app(config, handler, seen)
        with stopping_app() as stopped:
            async with backend.running(app):
                await backend.until(lambda: app.service is not None and app.service.failure)
        assert "no_endpoint" in str(stopped[0])
        assert await backend.committed(config, topic) == 1

    async def test_a_tombstone_goes_to_an_endpoint_that_accepts_none(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order | None) -> None:
            seen.append(order)

        config = backend.config(topic)
        await backend.send(topic, None)
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert seen == [None]

    async def test_the_default_endpoint_gets_it(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.default()
        async def on_anything(value: bytes, request: Request) -> None:
            seen.append((value, request.event_type))

        config = backend.config(topic)
        await backend.send(topic, b"a", "Other")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert len(seen) == 1


class TestFailure:
    async def test_is_tried_again_until_it_succeeds_and_not_committed_before(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()
        broken = True

        @handler.event("E")
        async def on_event(order: Order, request: Request) -> None:
            seen.append((order.number, request.attempt))
            if order.number == 1 and broken:
                raise ValueError("still broken")

        config = backend.config(topic, on_error=QUICK)
        for number in range(3):
            await backend.send(topic, {"number": number})
        async with backend.running(make_app(config, handler, seen)):
            await backend.until(lambda: (1, 3) in seen)
            await committed_is(backend, config, topic, 1)
            broken = False
            await committed_is(backend, config, topic, 3)
        assert [number for number, attempt in seen if attempt == 1] == [0, 1, 2]
        assert seen[-1] == (2, 1)

    async def test_blocks_only_its_own_partition(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(3), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order, request: Request) -> None:
            if request.partition == 1:
                raise ValueError("poison")
            seen.append((request.partition, order.number))

        config = backend.config(topic, on_error=QUICK)
        for number in range(5):
            for partition in range(3):
                await backend.send(topic, {"number": number}, partition=partition)
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 5, 0)
            await committed_is(backend, config, topic, 5, 2)
            assert await backend.committed(config, topic, 1) == 0
        assert len(seen) == 10

    @pytest.mark.parametrize("then", ["skip", "stop"])
    async def test_ends_as_the_policy_says_after_the_last_attempt(self, backend: Backend, then: str) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)
            if order.number == 1:
                raise ValueError("always")

        config = backend.config(topic, on_error={**QUICK, "max_attempts": 3, "then": then})
        for number in range(3):
            await backend.send(topic, {"number": number})
        app = make_app(config, handler, seen)
        with stopping_app() as stopped:
            async with backend.running(app):
                await backend.until(lambda: 2 in seen if then == "skip" else app.service and app.service.failure)
        assert seen == ([0, 1, 1, 1, 2] if then == "skip" else [0, 1, 1, 1])
        assert await backend.committed(config, topic) == (3 if then == "skip" else 1)
        assert bool(stopped) is (then == "stop")
        assert [event.decision for event in seen.failed] == ["wait", "wait", "finish" if then == "skip" else "stop"]

    async def test_with_a_non_retryable_error_ends_as_the_policy_says_at_once(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E", on_error={"non_retryable": [ValueError], "then": "skip"})
        async def on_event(value: bytes) -> None:
            seen.append(value)
            raise ValueError("hopeless")

        config = backend.config(topic)
        await backend.send(topic, b"x")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert seen == [b"x"]

    async def test_past_the_time_limit_is_cancelled_and_tried_again(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E", timeout_ms=200)
        async def on_event(value: bytes, request: Request) -> None:
            seen.append(request.attempt)
            if request.attempt == 1:
                await asyncio.Event().wait()

        config = backend.config(topic, on_error=QUICK)
        await backend.send(topic, b"x")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert seen == [1, 2]
        assert isinstance(seen.failed[0].error, EndpointTimeout)

    async def test_an_endpoints_own_cancellation_is_a_failure(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            seen.append(request.attempt)
            if request.attempt == 1:
                raise asyncio.CancelledError

        config = backend.config(topic, on_error=QUICK)
        await backend.send(topic, b"x")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert seen == [1, 2]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
    async def test_with_a_fatal_exception_stops_the_app_with_the_record_uncommitted(
        self, backend: Backend, error: type[BaseException]
    ) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)
            if order.number == 1:
                raise error

        config = backend.config(topic, on_error={"max_attempts": 1, "then": "skip"})
        for number in range(3):
            await backend.send(topic, {"number": number})
        app = make_app(config, handler, seen)
        with stopping_app() as stopped:
            async with backend.running(app):
                await backend.until(lambda: app.service is not None and app.service.failure)
        assert isinstance(stopped[0].__cause__, error)
        assert seen == [0, 1]
        assert await backend.committed(config, topic) == 1


class TestUndecodable:
    async def test_is_retried_forever_by_default(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)

        config = backend.config(topic, on_error=QUICK)
        await backend.send(topic, {"number": 0})
        await backend.send(topic, b"{no json")
        await backend.send(topic, {"number": 2})
        async with backend.running(make_app(config, handler, seen)):
            await backend.until(lambda: len(seen.failed) >= 3)
            await committed_is(backend, config, topic, 1)
        assert seen == [0]
        assert all(isinstance(event.error, DecodeError) for event in seen.failed)

    @pytest.mark.parametrize(
        "value",
        [b"", b"{no json", b"\xff\xfe", b"[" * 100_000, b'{"number": "x"}', b'{"number": 1e999}', b"null"],
        ids=["empty", "no-json", "no-utf-8", "too-deep", "wrong-type", "infinite", "null"],
    )
    async def test_ends_at_once_as_a_finite_policy_says(self, backend: Backend, value: bytes) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)

        config = backend.config(topic, on_error={"max_attempts": 5, "then": "skip"})
        await backend.send(topic, value)
        await backend.send(topic, {"number": 1})
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 2)
        assert seen == [1]
        assert [event.attempt for event in seen.failed] == [1]


class TestOutcomes:
    @pytest.mark.parametrize("way", ["returned", "raised", "bare class returned", "bare class raised"])
    async def test_skip_commits_and_continues(self, backend: Backend, way: str) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> object:
            seen.append(value)
            match way:
                case "returned":
                    return Skip("not ours")
                case "raised":
                    raise Skip("not ours")
                case "bare class returned":
                    return Skip
                case _:
                    raise Skip

        config = backend.config(topic)
        await backend.send(topic, b"x")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert seen == [b"x"]

    async def test_retry_tries_again_after_its_own_delay(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> Retry | None:
            seen.append(request.attempt)
            return Retry(after_ms=10) if request.attempt < 4 else None

        config = backend.config(topic)
        await backend.send(topic, b"x")
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        assert seen == [1, 2, 3, 4]

    async def test_dead_letter_is_written_byte_for_byte_before_the_commit(self, backend: Backend) -> None:
        topic, dead_letter_topic, seen, handler = await backend.topic(), await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            raise DeadLetter("bad one")

        config = backend.config(topic, on_error={"dead_letter_topic": dead_letter_topic})
        await backend.send(topic, b"\x00\xff", headers=[("own", b"\x01"), ("empty", None)])
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)
        [(value, headers)] = await backend.values(dead_letter_topic)
        assert value == b"\x00\xff"
        assert (headers["own"], headers["empty"]) == (b"\x01", None)
        assert headers["evkafka-dlq-topic"] == topic.encode()
        assert headers["evkafka-dlq-error-message"] == b"bad one"


@pytest.mark.parametrize("lanes", LANES)
class TestRebalance:
    @membership_matters
    async def test_a_record_in_flight_that_ends_within_the_drain_time_is_committed(
        self, backend: Backend, lanes: str
    ) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()
        gate = asyncio.Event()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)
            if order.number == 0:
                await gate.wait()

        config = backend.config(topic, **LANES[lanes])
        for number in range(2):
            await backend.send(topic, {"number": number}, key=b"k")
        app = make_app(config, handler, seen)
        async with backend.running(app):
            await backend.until(lambda: 0 in seen)
            await backend.rebalance(app, config)
            gate.set()
            await backend.until(lambda: _at_least(backend, config, topic, 1))
        assert seen.count(0) == 1

    @all_partitions_move
    async def test_a_record_that_outlasts_the_drain_time_is_cancelled_and_handled_again(
        self, backend: Backend, lanes: str
    ) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)
            if len(seen) == 1:
                await asyncio.Event().wait()

        config = backend.config(topic, revoke_drain_timeout_ms=300, **LANES[lanes])
        await backend.send(topic, {"number": 0})
        app = make_app(config, handler, seen)
        async with backend.running(app):
            await backend.until(lambda: seen == [0])
            async with backend.running(make_app(config, handler, seen)):  # its join is a rebalance
                if backend.group_protocol == "consumer":  # which moves nothing
                    await backend.rebalance(app, config)
                await committed_is(backend, config, topic, 1)
        assert seen == [0, 0]
        assert seen.failed == []  # a cancelled attempt is neither done nor failed


async def _at_least(backend: Backend, config: dict[str, Any], topic: str, offset: int) -> bool:
    return (await backend.committed(config, topic) or 0) >= offset


@membership_matters
class TestPositions:
    async def test_the_position_of_a_reset_is_committed_at_once(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()
        await backend.send(topic, b"before the group's start")
        config = backend.config(topic, auto_offset_reset="latest", auto_commit_interval_ms=60_000)
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 1)

    async def test_an_offset_gap_blocks_nothing_and_lag_is_zero_after_it(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            seen.append(value)

        config = backend.config(topic)
        await backend.send(topic, b"a")
        await backend.make_gap(topic)
        await backend.send(topic, b"b")
        await backend.make_gap(topic)
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 6)
        assert seen == [b"a", b"b"]

    async def test_interval_zero_commits_after_each_record(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes) -> None:
            seen.append(value)

        config = backend.config(topic, auto_commit_interval_ms=0)
        async with backend.running(make_app(config, handler, seen)):
            await backend.send(topic, b"a")
            await committed_is(backend, config, topic, 1)
            await backend.send(topic, b"b")
            await committed_is(backend, config, topic, 2)


class TestHeaders:
    async def test_the_first_event_type_counts_and_unusual_headers_are_accepted(self, backend: Backend) -> None:
        topic, seen, handler = await backend.topic(), Seen(), Handler()

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            seen.append((request.event_type, request.headers.get("a"), len(request.raw_headers)))

        config = backend.config(topic)
        await backend.send(topic, b"1", headers=[("Event-Type", b"Other"), ("a", b"1"), ("a", b"2"), ("null", None)])
        await backend.send(topic, b"2", headers=[("a", b"\xff\xfe"), ("", b"no name")])
        await backend.send(topic, b"3", None, headers=[("Event-Type", None)])
        await backend.send(topic, b"4", None, headers=[("Event-Type", b"\xff\xfe")])
        async with backend.running(make_app(config, handler, seen)):
            await committed_is(backend, config, topic, 4)
        assert seen == [("E", b"2", 5), ("E", b"\xff\xfe", 3)]


__all__ = ["StopApp"]
