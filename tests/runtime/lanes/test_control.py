"""app.consumer("name"): pause, resume and seek, from anywhere, at any time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from evkafka import ConfigError, EVKafkaApp, Handler, Request
from evkafka.control import ConsumerControl
from evkafka.exceptions import NotAssigned
from evkafka.records import TopicPartition
from evkafka.telemetry import RecordsLost
from tests.support.engine import GROUP, TOPIC, Bench, Gates

IN_ORDER: list[dict[str, Any]] = [{}, {"concurrency": 4, "ordering": "partition"}]


def control(bench: Bench) -> ConsumerControl:
    return bench.app.consumer("it")


class TestPause:
    @pytest.mark.parametrize("keys", IN_ORDER)
    async def test_none_of_its_records_begins_and_the_running_one_ends(
        self, bench: Bench, gates: Gates, handler: Handler, keys: dict[str, Any]
    ) -> None:
        await bench.send(b"1", b"2", b"3")
        async with bench.running(handler, **keys):
            await bench.until(lambda: gates.begun == [b"1"])
            control(bench).pause(TOPIC, 0)
            gates.open_all()
            await bench.send(b"4")
            await bench.kafka.advance(ms=5000)
            assert gates.ended == [b"1"]
            assert bench.committed() == 1
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert gates.ended == [b"1", b"2", b"3", b"4"]
        assert bench.committed() == 4

    async def test_by_key_none_of_its_lanes_continues(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(b"a1", b"a2", key="a")
        await bench.send(b"b1", b"b2", key="b")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: len(gates.begun) == 2)
            control(bench).pause(TOPIC, 0)
            gates.open_all()
            await bench.send(b"a3", key="a")
            await bench.send(b"c1", key="c")
            await bench.kafka.advance(ms=5000)
            assert sorted(gates.ended) == [b"a1", b"b1"]
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert [value for value in gates.ended if value.startswith(b"a")] == [b"a1", b"a2", b"a3"]
        assert bench.committed() == 6

    async def test_the_other_partitions_continue(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        gates.open_all()
        async with bench.running(handler):
            control(bench).pause(TOPIC, 0)
            await bench.send(b"x", partition=0)
            await bench.send(b"y", partition=1)
            await bench.until(lambda: bench.committed(1) == 1)
            assert gates.ended == [b"y"]
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert gates.ended == [b"y", b"x"]

    async def test_a_record_whose_retry_is_due_meanwhile_waits(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E")
        async def fail_once(value: bytes, request: Request) -> None:
            seen.append((value, request.attempt))
            if value == b"1" and request.attempt == 1:
                control(bench).pause(TOPIC, 0)
                raise ValueError

        await bench.send(b"1", b"2")
        async with bench.running(handler, on_error={"backoff_ms": 100}):
            await bench.until(lambda: seen)
            await bench.kafka.advance(ms=5000)
            assert seen == [(b"1", 1)]
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert seen == [(b"1", 1), (b"1", 2), (b"2", 1)]

    async def test_batches_wait_too(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E", batch=True, max_records=2, concurrency=1)
        async def on_batch(values: list[bytes]) -> None:
            if not seen:
                control(bench).pause(TOPIC, 0)
            seen.append(values)

        await bench.send(*(b"%d" % number for number in range(5)))
        async with bench.running(handler, concurrency=4, ordering="key"):
            await bench.until(lambda: seen)
            await bench.kafka.advance(ms=5000)
            assert len(seen) == 1
            await bench.send(b"other", partition=1)
            await bench.until(lambda: [b"other"] in seen)  # what waits holds no place of its event type
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert bench.committed() == 5

    async def test_survives_rebalances_and_restarts(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        gates.open_all()
        async with bench.running(handler):
            control(bench).pause(TOPIC, 0)
            await bench.kafka.rebalance(GROUP)
            await bench.send(b"x")
            await bench.kafka.advance(ms=5000)
            assert gates.ended == []
        async with bench.kafka.running(bench.app):
            await bench.kafka.advance(ms=5000)
            assert gates.ended == []
            assert control(bench).paused == {TopicPartition(TOPIC, 0)}
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert gates.ended == [b"x"]

    async def test_before_the_start_and_in_the_lifespan_it_applies_from_the_start(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        @asynccontextmanager
        async def lifespan() -> Any:
            bench.app.consumer("it").pause(TOPIC, 1)
            yield

        bench.app = EVKafkaApp(lifespan=lifespan)
        gates.open_all()
        await bench.send(b"x", partition=0)
        await bench.send(b"y", partition=1)
        running = bench.running(handler)
        control(bench).pause(TOPIC, 0)
        async with running:
            await bench.kafka.advance(ms=5000)
            assert gates.ended == []

    async def test_a_paused_consumer_stops_at_once(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        async with bench.running(handler):
            await bench.send(b"1", b"2")
            await bench.until(lambda: gates.begun)
            control(bench).pause(TOPIC, 0)
            gates.open_all()
            await bench.until(lambda: gates.ended)
            before_s = bench.kafka.clock.now()
        assert bench.kafka.clock.now() - before_s < 1
        assert bench.committed() == 1

    async def test_pre_commit_records_that_were_read_still_run_at_a_stop(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        async with bench.running(handler, auto_commit_mode="pre-commit"):
            await bench.send(b"1", b"2")
            await bench.until(lambda: gates.begun)
            control(bench).pause(TOPIC, 0)
            gates.open_all()
            await bench.kafka.advance(ms=1000)
        assert gates.ended == [b"1", b"2"]

    async def test_twice_is_the_same_as_once(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        gates.open_all()
        async with bench.running(handler):
            control(bench).pause(TOPIC, 0)
            control(bench).pause(TOPIC, 0)
            control(bench).resume(TOPIC, 0)
            control(bench).resume(TOPIC, 0)
            await bench.send(b"x")
            await bench.kafka.settle()
        assert gates.ended == [b"x"]

    async def test_a_full_and_paused_partition_is_read_when_it_is_neither(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(*(b"%d" % number for number in range(300)))
        async with bench.running(handler, max_pending_records=200, max_poll_records=50):
            await bench.until(lambda: bench.consumer.pending == 100)
            flow = bench.consumer._assignment.flow
            control(bench).pause(TOPIC, 0)
            assert flow.not_read_reasons(TopicPartition(TOPIC, 0)) == {"user", "full"}
            gates.open_all()
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert bench.committed() == 300


class TestSeek:
    async def test_backwards_reads_again_and_survives_a_rebalance(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        gates.open_all()
        await bench.send(b"0", b"1", b"2", b"3")
        async with bench.running(handler):
            await bench.kafka.settle()
            control(bench).pause(TOPIC, 0)
            control(bench).seek(TOPIC, 0, 2)
            await bench.until(lambda: bench.committed() == 2)
            await bench.kafka.rebalance(GROUP)
            control(bench).resume(TOPIC, 0)
            await bench.kafka.settle()
        assert gates.ended == [b"0", b"1", b"2", b"3", b"2", b"3"]
        assert bench.committed() == 4

    async def test_forwards_skips_records_that_were_read(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        await bench.send(*(b"%d" % number for number in range(10)))
        async with bench.running(handler):
            await bench.until(lambda: gates.begun)
            control(bench).seek(TOPIC, 0, 8)
            gates.open_all()
            await bench.kafka.settle()
        assert gates.ended == [b"0", b"8", b"9"]
        assert bench.committed() == 10

    async def test_the_result_of_a_running_attempt_is_ignored_and_its_key_waits_for_it(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        await bench.send(b"0", key="a")
        await bench.send(b"1", key="b")
        await bench.send(b"2", key="a")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: gates.running == {b"0", b"1"})
            control(bench).seek(TOPIC, 0, 2)
            await bench.kafka.advance(ms=1000)
            assert b"2" not in gates.begun
            assert bench.committed() == 2
            gates.open(b"0")
            await bench.until(lambda: b"2" in gates.begun)
            gates.open_all()
            await bench.kafka.settle()
        assert bench.committed() == 3

    async def test_during_a_commit_the_older_offset_does_not_win(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        gates.open_all()
        await bench.send(*(b"%d" % number for number in range(10)))
        async with bench.running(handler, auto_commit_interval_ms=0):
            await bench.kafka.settle()
            control(bench).pause(TOPIC, 0)
            await bench.send(b"10")
            control(bench).seek(TOPIC, 0, 3)
            control(bench).seek(TOPIC, 0, 5)
            await bench.until(lambda: bench.committed() == 5)
            await bench.kafka.advance(ms=5000)
            assert bench.committed() == 5

    async def test_out_of_range_is_reset_by_auto_offset_reset(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        gates.open_all()
        await bench.send(b"0", b"1")
        async with bench.running(handler):
            await bench.kafka.settle()
            control(bench).seek(TOPIC, 0, 700)
            await bench.kafka.settle()
        assert gates.ended == [b"0", b"1", b"0", b"1"]  # earliest

    @pytest.mark.parametrize("interval_ms", [0, 100])
    async def test_pre_commit_reports_no_record_as_lost(
        self, bench: Bench, gates: Gates, handler: Handler, interval_ms: int
    ) -> None:
        lost: list[RecordsLost] = []
        bench.app.telemetry.listen(RecordsLost, lost.append)
        await bench.send(*(b"%d" % number for number in range(5)))
        keys = {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": interval_ms}
        async with bench.running(handler, **keys):
            await bench.until(lambda: gates.begun)
            control(bench).seek(TOPIC, 0, 4)
            gates.open_all()
            await bench.until(lambda: gates.ended == [b"0", b"4"])
        assert lost == []


class TestErrors:
    async def test_they_list_the_existing_names(self, bench: Bench, handler: Handler) -> None:
        with pytest.raises(ConfigError, match="no consumer named 'it'; its consumers: none"):
            bench.app.consumer("it")
        async with bench.running(handler):
            with pytest.raises(ConfigError, match="does not read topic 'other'; it reads 't'"):
                control(bench).pause("other", 0)
            with pytest.raises(ConfigError, match="a partition is a whole number of 0 or more, not -1"):
                control(bench).resume(TOPIC, -1)
            with pytest.raises(ConfigError, match="an offset is a whole number of 0 or more, not -2"):
                control(bench).seek(TOPIC, 0, -2)
            with pytest.raises(NotAssigned, match=r"cannot seek in t\[7\].*it is assigned t\[0\], t\[1\]"):
                control(bench).seek(TOPIC, 7, 0)
        with pytest.raises(RuntimeError, match="'it' is not running"):
            control(bench).seek(TOPIC, 0, 0)

    async def test_topics_that_match_a_pattern_are_accepted(self, bench: Bench, handler: Handler) -> None:
        bench.app.add_consumer({"topic_pattern": "t.*", "group_id": "p"}, handler, "by-pattern")
        bench.app.consumer("by-pattern").pause("tt", 0)
        with pytest.raises(ConfigError, match=r"it reads topics that match 't\.\*'"):
            bench.app.consumer("by-pattern").pause("other", 0)


class TestThreads:
    @pytest.fixture
    def in_thread(self) -> Callable[[Callable[[], Any]], Any]:
        async def run(call: Callable[[], Any]) -> Any:
            return await asyncio.get_running_loop().run_in_executor(None, call)

        return run

    async def test_calls_from_any_thread_are_made_in_the_consumers_loop(
        self, bench: Bench, gates: Gates, handler: Handler, in_thread: Any
    ) -> None:
        gates.open_all()
        await bench.send(b"0", b"1")
        async with bench.running(handler):
            await bench.kafka.settle()
            it = control(bench)
            await in_thread(lambda: it.pause(TOPIC, 0))
            await in_thread(lambda: it.seek(TOPIC, 0, 1))
            assert await in_thread(lambda: it.assigned) == {TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)}
            with pytest.raises(NotAssigned):
                await in_thread(lambda: it.seek(TOPIC, 9, 1))
            assert gates.ended == [b"0", b"1"]
            await in_thread(lambda: it.resume(TOPIC, 0))
            await bench.kafka.settle()
        assert gates.ended == [b"0", b"1", b"1"]

    async def test_a_plain_def_endpoint_can_pause_its_own_partition(self, bench: Bench) -> None:
        handler, seen = Handler(), []

        @handler.event("E")
        def on_event(value: bytes, request: Request) -> None:
            assert threading.current_thread() is not threading.main_thread()
            seen.append(value)
            control(bench).pause(request.topic, request.partition)

        await bench.send(b"0", b"1")
        async with bench.running(handler):
            await bench.until(lambda: bench.committed() == 1)
            await bench.kafka.advance(ms=1000)
        assert seen == [b"0"]


class TestARunningBatch:
    async def test_that_ends_while_its_partition_is_paused_keeps_the_records_behind_it(self, bench: Bench) -> None:
        handler, handled, go_on = Handler(), list[bytes](), asyncio.Event()

        @handler.event("E", batch=True, max_records=2, max_wait_ms=0)
        async def on_es(values: list[bytes]) -> None:
            await go_on.wait()
            handled.extend(values)

        await bench.send(*(b"%d" % number for number in range(6)), key="k")
        async with bench.running(handler, concurrency=4):
            await bench.until(lambda: bench.consumer.in_flight == 1)
            control(bench).pause(TOPIC, 0)
            go_on.set()
            await bench.until(lambda: len(handled) == 2)
            await bench.kafka.advance(ms=3_000)
            bench.consumer.check_no_record_lost_or_doubled()
            control(bench).resume(TOPIC, 0)
            await bench.until(lambda: bench.committed() == 6)
            assert bench.consumer.status().rebuilds == 0
        assert handled == [b"%d" % number for number in range(6)]
