"""Virtual time passes by the test's clock; real awaits are waited for."""

from __future__ import annotations

import asyncio
import time

import pytest

from evkafka import Request, Retry
from evkafka.testing import InMemoryKafka, NotSettled
from tests.testing.memory.apps import make_app

HOUR_MS = 3_600_000


async def never(request: Request) -> None:
    await asyncio.Event().wait()


class TestVirtualTime:
    async def test_half_an_hour_of_backoff_passes_without_a_wait(self) -> None:
        """Longer than any test may take: by the real clock this one would be cut off."""
        at_s = []

        async def fail(request: Request) -> None:
            at_s.append(kafka.clock.now())
            if request.attempt <= 2:
                raise ValueError("not yet")

        policy = {"backoff_ms": HOUR_MS // 4, "max_backoff_ms": HOUR_MS // 4, "jitter": 0}
        app, seen = make_app(fail, on_error=policy)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            await kafka.settle(max_ms=20 * HOUR_MS)
        assert len(seen) == 3
        assert at_s[-1] - at_s[0] == pytest.approx(HOUR_MS / 2 / 1000, abs=1)

    async def test_advance_goes_so_far_and_no_further(self) -> None:
        async def again(request: Request) -> None:
            raise Retry(after_ms=1_000)

        app, seen = make_app(again)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            now_s = kafka.clock.now()
            await kafka.advance(ms=2_500)
            assert kafka.clock.now() == pytest.approx(now_s + 2.5)
            assert len(seen) == 3

    async def test_records_carry_it(self) -> None:
        async with InMemoryKafka() as kafka:
            first = await kafka.send("orders", b"x", "E")
            await kafka.advance(ms=1_500)
            second = await kafka.send("orders", b"x", "E")
            third = await kafka.send("orders", b"x", "E", timestamp_ms=7)
        assert second.timestamp - first.timestamp == 1_500
        assert third.timestamp == 7

    async def test_latency_delays_fetches_and_commits(self) -> None:
        app, seen = make_app(auto_commit_interval_ms=0)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"first", "E")
            await kafka.settle()
            with kafka.latency(fetch_ms=700, commit_ms=400):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=600)
                assert seen == [(0, 0)]
                await kafka.advance(ms=200)
                assert seen == [(0, 0), (0, 1)]
                kafka.assert_committed(group="billing", topic="orders", offset=1)
                await kafka.advance(ms=400)
                kafka.assert_committed(group="billing", topic="orders", offset=2)

    def test_negative_latency_is_refused(self) -> None:
        with pytest.raises(ValueError, match="fetch_ms=-1"), InMemoryKafka().latency(fetch_ms=-1):
            pass

    async def test_an_outage_is_outlasted(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            async with kafka.outage(ms=60_000):
                await kafka.send("orders", b"x", "E")
            assert seen == []
            await kafka.settle()
        assert seen == [(0, 0)]


class TestRealTime:
    async def test_real_awaits_of_endpoints_are_waited_for_and_cost_no_virtual_time(self) -> None:
        async def really(request: Request) -> None:
            await asyncio.sleep(0.05)  # the user's own, real

        app, seen = make_app(really, max_endpoint_exec_time_ms=1_000)
        async with InMemoryKafka() as kafka, kafka.running(app):
            for _ in range(3):
                await kafka.send("orders", b"x", "E")
            await kafka.settle()
        assert seen == [(0, 0), (0, 1), (0, 2)]

    async def test_so_is_a_thread_of_its_own(self) -> None:
        async def in_a_thread(request: Request) -> None:
            await asyncio.to_thread(time.sleep, 0.05)

        app, seen = make_app(in_a_thread, max_endpoint_exec_time_ms=1_000)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            await kafka.settle()
        assert seen == [(0, 0)]


class TestEndlessWork:
    async def test_an_endpoint_is_named_and_cut_at_its_limit(self) -> None:
        app, seen = make_app(never, max_endpoint_exec_time_ms=1_000)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            with pytest.raises(NotSettled, match=r"orders\[0\]@0 \(E, .*on_event\) has failed .* EndpointTimeout"):
                await kafka.settle(max_ms=60_000)
        assert len(seen) > 2

    async def test_an_endpoint_within_its_limit_is_named(self) -> None:
        app, _ = make_app(never)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            with pytest.raises(NotSettled) as error:
                await kafka.settle(max_ms=10_000)
        assert "make_app.<locals>.on_event at orders[0]@0 (attempt 1) is running and awaits" in str(error.value)
        assert "not settled after 10 s on the virtual clock" in str(error.value)

    async def test_an_endpoint_that_sleeps_for_an_hour_is_not_waited_for(self) -> None:
        async def long(request: Request) -> None:
            await asyncio.sleep(HOUR_MS / 1000)

        app, _ = make_app(long)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            with pytest.raises(NotSettled, match="on_event"):
                await kafka.settle(max_ms=10_000)

    async def test_a_poisonous_record_is_named_with_its_error(self) -> None:
        async def fail(request: Request) -> None:
            raise ValueError("no stock")

        app, _ = make_app(fail)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            with pytest.raises(NotSettled, match=r"has failed \d+ times, most recently with ValueError\('no stock'\)"):
                await kafka.settle(max_ms=60_000)

    async def test_a_paused_partition_is_named(self) -> None:
        app, seen = make_app()
        app.consumer("consumer-1").pause("orders", 0)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            with pytest.raises(NotSettled, match=r"orders\[0\] is paused in consumer consumer-1"):
                await kafka.settle(max_ms=60_000)
            app.consumer("consumer-1").resume("orders", 0)
            await kafka.settle()
        assert seen == [(0, 0)]

    async def test_an_outage_is_named(self) -> None:
        app, _ = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.go_away()
            await kafka.send("orders", b"x", "E")
            with pytest.raises(NotSettled, match="the in-memory Kafka is unavailable"):
                await kafka.settle(max_ms=60_000)
            kafka.come_back()
