"""A member that its group's coordinator has not answered for a session may have lost its partitions: another member may
handle their records. It begins none, and goes on when it is answered."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.runtime.time_slice import YIELD_AFTER_S
from evkafka.testing import InMemoryKafka

SESSION_MS = 10_000


class Orders:
    """An app whose first attempt at each record fails. The second one is due after `backoff_ms`."""

    def __init__(self, *, backoff_ms: int, **config: Any) -> None:
        self.begun: list[int] = []
        handler = Handler()

        @handler.event("Order")
        async def on_order(number: int) -> None:
            self.begun.append(number)
            if self.begun.count(number) == 1:
                raise ConnectionError("not yet")

        self.app = EVKafkaApp()
        keys: Any = {
            "topics": ["orders"],
            "group_id": "billing",
            "auto_offset_reset": "earliest",
            "session_timeout_ms": SESSION_MS,
            "on_error": {"backoff_ms": backoff_ms, "max_backoff_ms": backoff_ms},
            **config,
        }
        self.app.add_consumer(keys, handler)


async def write(kafka: InMemoryKafka, count: int) -> None:
    for number in range(count):
        await kafka.send("orders", number, "Order", key=b"%d" % number)


@pytest.mark.parametrize("concurrency", [1, 4])
class TestASilenceOfASession:
    async def test_lets_no_record_begin_until_its_end(self, concurrency: int) -> None:
        orders = Orders(backoff_ms=SESSION_MS + 2_000, concurrency=concurrency)
        async with InMemoryKafka() as kafka, kafka.running(orders.app):
            await write(kafka, 3)
            await kafka.advance(ms=100)
            begun = list(orders.begun)
            async with kafka.outage():
                await kafka.advance(ms=10 * SESSION_MS)
                assert orders.begun == begun, "their next attempts are due"
            await kafka.settle()
        assert sorted(orders.begun) == [0, 0, 1, 1, 2, 2], "each record was handled once"

    async def test_is_not_over_before(self, concurrency: int) -> None:
        orders = Orders(backoff_ms=SESSION_MS - 2_000, concurrency=concurrency)
        async with InMemoryKafka() as kafka, kafka.running(orders.app):
            await write(kafka, 1)
            await kafka.advance(ms=100)
            async with kafka.outage():
                await kafka.advance(ms=SESSION_MS - 1_000)
                assert orders.begun == [0, 0]


class TestItsLogLine:
    async def test_says_once_that_nothing_begins(self, caplog: pytest.LogCaptureFixture) -> None:
        orders = Orders(backoff_ms=1_000)
        async with InMemoryKafka() as kafka:
            with caplog.at_level(logging.WARNING, "evkafka.runtime"):
                async with kafka.running(orders.app):
                    async with kafka.outage():
                        await kafka.advance(ms=3 * SESSION_MS)
                    await kafka.settle()
        [line] = [one.getMessage() for one in caplog.records if "no further record begins" in one.getMessage()]
        assert line.startswith("consumer consumer-1: its group's coordinator has not answered")


class TestAnAttemptThatRuns:
    @pytest.mark.parametrize("silent_ms", [0.95 * SESSION_MS, SESSION_MS + 1_000])
    async def test_goes_on_and_none_behind_it_begins(self, silent_ms: float) -> None:
        may_end, begun, ended = asyncio.Event(), list[int](), list[int]()
        handler, app = Handler(), EVKafkaApp()

        @handler.event("Order")
        async def on_order(number: int) -> None:
            begun.append(number)
            await may_end.wait()
            ended.append(number)

        app.add_consumer({"topics": ["orders"], "group_id": "billing", "session_timeout_ms": SESSION_MS}, handler)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await write(kafka, 3)
            await kafka.advance(ms=100)
            async with kafka.outage():
                await kafka.advance(ms=silent_ms)
                assert begun == [0]
                may_end.set()
                await kafka.advance(ms=1_000)
                assert (begun, ended) == ([0], [0])
            await kafka.settle()
        assert ended == [0, 1, 2]


class TestAProcessThatWasFrozen:
    @pytest.mark.parametrize("concurrency", [1, 4])
    @pytest.mark.parametrize("key", [True, False], ids=["own-keys", "one-key"])
    @pytest.mark.parametrize("batch", [True, False], ids=["batch", "single"])
    async def test_begins_no_record_before_the_watchdog_looks(self, batch: bool, key: bool, concurrency: int) -> None:
        """The executors may run before the watchdog's timer."""
        begun = list[int]()
        handler, app, kafka = Handler(), EVKafkaApp(), InMemoryKafka()

        def handle(number: int) -> None:
            begun.append(number)
            if number == 0:
                kafka.faults.away_since_s = kafka.clock.now() - SESSION_MS / 1000
                kafka.clock.jump(kafka.clock.now() + 2 * YIELD_AFTER_S)  # earlier than the watchdog's next round

        if batch:

            @handler.event("Order", batch=True, max_records=1)
            async def on_orders(numbers: list[int]) -> None:
                handle(*numbers)

        else:

            @handler.event("Order")
            async def on_order(number: int) -> None:
                handle(number)

        keys: Any = {"topics": ["orders"], "group_id": "billing", "concurrency": concurrency}
        app.add_consumer({**keys, "session_timeout_ms": SESSION_MS}, handler)
        async with kafka, kafka.running(app):
            for number in range(4):
                await kafka.send("orders", number, "Order", key=b"%d" % (number * key))
            await kafka.advance(ms=100)
            assert begun == [0]
            kafka.come_back()
            await kafka.settle()
        assert begun == [0, 1, 2, 3]


class TestAtMostOnce:
    async def test_records_that_were_read_go_on_and_end_at_a_stop(self) -> None:
        """They are committed: no other member gets them."""
        may_end, ended = asyncio.Event(), list[int]()
        handler, app = Handler(), EVKafkaApp()

        @handler.event("Order")
        async def on_order(number: int) -> None:
            await may_end.wait()
            ended.append(number)

        keys: Any = {"topics": ["orders"], "group_id": "billing", "auto_commit_mode": "pre-commit"}
        app.add_consumer({**keys, "session_timeout_ms": SESSION_MS}, handler)
        async with InMemoryKafka() as kafka:
            async with kafka.running(app):
                await write(kafka, 3)
                await kafka.advance(ms=100)
                kafka.go_away()
                await kafka.advance(ms=SESSION_MS + 1_000)
                may_end.set()
            assert ended == [0, 1, 2]
