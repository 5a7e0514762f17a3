"""Each attempt that ends counts once, under one status; a record that was lost does too."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from evkafka import BatchError, DeadLetter, Handler, Request
from evkafka.exceptions import StopApp
from evkafka.records import TopicPartition
from evkafka.telemetry import RecordsLost, RecordsProcessed
from tests.support.engine import TOPIC, Bench

STOP: Any = {"on_error": {"max_attempts": 1, "then": "stop"}}
PRE: Any = {"auto_commit_mode": "pre-commit", "revoke_drain_timeout_ms": 100, "drain_timeout_ms": 100}


class Counted:
    """What the telemetry of an app has counted: ended attempts by status, and lost offsets in the order of events."""

    def __init__(self, bench: Bench) -> None:
        self.statuses: Counter[str] = Counter()
        self.lost: list[int] = []
        bench.app.telemetry.listen(RecordsProcessed, self._add_processed)
        bench.app.telemetry.listen(RecordsLost, self._add_lost)

    def _add_processed(self, event: RecordsProcessed) -> None:
        for (_, status), durations_s in event.durations_s.items():
            self.statuses[status] += len(durations_s)

    def _add_lost(self, event: RecordsLost) -> None:
        self.lost += [offset for _, _, offset in event.addresses]


@pytest.fixture
def counted(bench: Bench) -> Counted:
    return Counted(bench)


async def run_until_it_stops(bench: Bench, handler: Handler, **keys: Any) -> None:
    with pytest.raises(StopApp):
        async with bench.running(handler, **keys):
            await bench.until(lambda: bench.app.service is None or bench.app.service.failure is not None)


async def fail() -> None:
    raise ValueError("by the test")


async def run_out_of_memory() -> None:
    raise MemoryError


async def give_it_up() -> None:
    raise DeadLetter("by the test")


FATAL = [
    pytest.param(fail, STOP, {"failed": 1}, id="then=stop"),
    pytest.param(run_out_of_memory, {}, {"failed": 1}, id="MemoryError"),
    pytest.param(run_out_of_memory, PRE, {"failed": 1}, id="MemoryError with pre-commit"),
    pytest.param(
        give_it_up,
        {"on_error": {"dead_letter_limit": {"consecutive": 1}}},
        {"dead_lettered": 1, "failed": 1},
        id="dead_letter_limit",
    ),
]


class TestTheAttemptThatStopsTheApp:
    @pytest.mark.parametrize(("befalls", "keys", "statuses"), FATAL)
    async def test_counts_as_failed(
        self, bench: Bench, counted: Counted, befalls: Any, keys: dict[str, Any], statuses: dict[str, int]
    ) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            await befalls()

        await bench.send(*[b""] * sum(statuses.values()))
        await run_until_it_stops(bench, handler, **keys)
        assert counted.statuses == statuses
        assert counted.lost == []

    @pytest.mark.parametrize(("befalls", "keys", "statuses"), FATAL[:3])
    async def test_counts_as_failed_for_each_record_of_its_batch(
        self, bench: Bench, counted: Counted, befalls: Any, keys: dict[str, Any], statuses: dict[str, int]
    ) -> None:
        handler = Handler()

        @handler.event("E", batch=True, max_records=3)
        async def on_es(values: list[bytes]) -> None:
            await befalls()

        await bench.send(b"", b"", b"")
        await run_until_it_stops(bench, handler, **keys)
        assert counted.statuses == {"failed": 3 * statuses["failed"]}
        assert counted.lost == []

    async def test_counts_as_failed_for_the_records_that_a_batch_error_names(
        self, bench: Bench, counted: Counted
    ) -> None:
        """Of the others, one has succeeded, and one is after a failed one of its key: nobody knows about that one."""
        handler = Handler()

        @handler.event("E", batch=True, max_records=4)
        async def on_es(values: list[bytes]) -> None:
            raise BatchError({1: ValueError("by the test"), 3: ValueError("by the test")})

        for key in "abbc":
            await bench.send(b"", key=key)
        await run_until_it_stops(bench, handler, concurrency=2, **STOP)
        assert counted.statuses == {"ok": 1, "failed": 2}

    async def test_counts_as_failed_if_no_endpoint_takes_the_record(self, bench: Bench, counted: Counted) -> None:
        await bench.send(b"", event_type="Unknown")
        await run_until_it_stops(bench, Handler(), unmatched="stop")
        assert counted.statuses == {"failed": 1}

    async def test_counts_as_failed_if_its_dead_letter_topic_never_accepts_the_record(
        self, bench: Bench, counted: Counted
    ) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            raise ValueError("by the test")

        too_small: Any = {"max_request_size": 1_000}
        await bench.send(bytes(2_000))
        policy = {"max_attempts": 1, "then": "dead_letter", "dead_letter_producer": too_small}
        await run_until_it_stops(bench, handler, on_error=policy)
        assert counted.statuses == {"failed": 1}


class TestAnAttemptThatIsCancelledAtARevoke:
    async def test_at_least_once_counts_nothing_until_the_record_is_handled_again(
        self, bench: Bench, counted: Counted
    ) -> None:
        handler, begun = Handler(), list[int]()

        @handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            begun.append(request.offset)
            if len(begun) == 1:
                await asyncio.Event().wait()

        await bench.send(b"", b"")
        async with bench.running(handler, revoke_drain_timeout_ms=100):
            await bench.until(lambda: begun)
            await bench.kafka.rebalance()
            assert counted.statuses == {}
            await bench.kafka.settle()
        assert begun == [0, 0, 1]
        assert counted.statuses == {"ok": 2}
        assert counted.lost == []

    @pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
    async def test_at_most_once_counts_its_records_as_lost(self, bench: Bench, counted: Counted, batch: bool) -> None:
        handler, begun = Handler(), asyncio.Event()

        async def wait(values: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        async def on_e(value: bytes) -> None:
            await wait(value)

        async def on_es(values: list[bytes]) -> None:
            await wait(values)

        if batch:
            handler.event("E", batch=True, max_records=2)(on_es)
        else:
            handler.event("E")(on_e)
        await bench.send(b"", b"", b"")
        async with bench.running(handler, **PRE):
            await bench.until(begun.is_set)
            await bench.kafka.rebalance()
            await bench.until(lambda: counted.lost)
            assert counted.lost == [0, 1, 2]
        assert counted.lost == [0, 1, 2]
        assert counted.statuses == {}

    async def test_at_most_once_is_not_lost_if_it_ends_in_spite_of_that(self, bench: Bench, counted: Counted) -> None:
        handler, begun = Handler(), asyncio.Event()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

        await bench.send(b"")
        async with bench.running(handler, **PRE):
            await bench.until(begun.is_set)
        assert counted.lost == []
        assert counted.statuses == {"ok": 1}

    async def test_at_most_once_counts_the_record_of_a_thread_as_lost(self, bench: Bench, counted: Counted) -> None:
        """A thread cannot be cancelled. What it does later does not count a second time."""
        handler, released, ended = Handler(), threading.Event(), threading.Event()
        begun = threading.Event()

        @handler.event("E")
        def on_e(value: bytes) -> None:
            begun.set()
            released.wait()
            ended.set()

        await bench.send(b"")
        try:
            async with bench.running(handler, **PRE):
                await bench.until(begun.is_set)
                rebalance = asyncio.ensure_future(bench.kafka.rebalance())
                await bench.until(lambda: counted.lost)
                released.set()
                await rebalance
                await bench.until(lambda: not bench.consumer.in_flight)
        finally:
            released.set()
        assert ended.is_set()
        assert counted.lost == [0]
        assert counted.statuses == {}


class TestADeadLetterThatCannotBeWritten:
    async def test_at_most_once_counts_its_record_as_lost(self, bench: Bench, counted: Counted) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            await give_it_up()

        bench.kafka.fail_sends("refused", "refused", "refused")
        await bench.send(b"", b"")
        async with bench.running(handler, **PRE):
            await bench.until(lambda: counted.statuses.total() == 2)
        assert counted.statuses == {"lost": 1, "dead_lettered": 1}


class TestASourceThatIsClosed:
    async def test_reports_what_is_open_as_lost_with_pre_commit(self, bench: Bench, counted: Counted) -> None:
        """As after a stop that was interrupted before it has drained: the rest is lost, the running record too."""
        handler, begun = Handler(), asyncio.Event()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            begun.set()
            await asyncio.Event().wait()

        await bench.send(b"0", b"1", b"2")
        async with bench.running(handler, **PRE):
            await bench.until(begun.is_set)
            bench.consumer._assignment.end_all_partitions()
            assert counted.lost == [0, 1, 2]
        assert counted.lost == [0, 1, 2]


class TestATruncatedLog:
    async def test_reports_what_has_not_finished_as_lost_with_pre_commit(self, bench: Bench, counted: Counted) -> None:
        """Records that the brokers still have are lost too: they are committed, and are not read again."""
        handler, begun, released = Handler(), asyncio.Event(), asyncio.Event()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            begun.set()
            await released.wait()

        await bench.send(*(b"%d" % number for number in range(6)))
        async with bench.running(handler, **PRE):
            await bench.until(begun.is_set)
            bench.kafka.lose_records(TOPIC, after=4)
            await bench.until(lambda: counted.lost)
            assert counted.lost == [0, 1, 2, 3, 4, 5]
            released.set()
            await bench.send(b"new")
            await bench.until(lambda: counted.statuses)
        assert counted.lost == [0, 1, 2, 3, 4, 5]
        assert counted.statuses == {"ok": 1}

    async def test_reports_nothing_as_lost_after_a_seek(self, bench: Bench, counted: Counted) -> None:
        handler, begun, released = Handler(), asyncio.Event(), asyncio.Event()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            begun.set()
            await released.wait()

        await bench.send(b"0", b"1", b"2", b"3")
        async with bench.running(handler, **PRE):
            await bench.until(begun.is_set)
            bench.consumer.seek(TopicPartition(TOPIC, 0), 3)
            released.set()
            await bench.until(lambda: counted.statuses)
        assert counted.lost == []
        assert counted.statuses == {"ok": 1}
