"""Cancelling every task that waits for the stop neither stops the app nor makes it count as stopped."""

from __future__ import annotations

import asyncio

from evkafka import EVKafkaApp, Sender
from evkafka.config.settings import ProducerSettings
from evkafka.runtime.ports import RecordSink
from evkafka.testing import InMemoryKafka
from tests.kafka.producer.sinks import TakingCluster, TakingSink
from tests.testing.memory.apps import make_app

TURNS = 10


async def cancel_waits() -> None:
    """Cancel every task that waits for an event, and let all tasks run."""
    await asyncio.sleep(0)
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "Event.wait":
            task.cancel()
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_an_app_that_runs_goes_on() -> None:
    app, seen = make_app()
    async with InMemoryKafka() as kafka, kafka.running(app):
        assert app.service is not None
        waiting = asyncio.ensure_future(app.service.wait_until_stop_is_needed())
        await cancel_waits()
        assert not waiting.done()
        await kafka.send("orders", b"x", "E")
        await kafka.settle()
        app.stop()
        await waiting
    assert seen == [(0, 0)]


class SlowCluster(TakingCluster):
    """A cluster whose sinks start when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.starting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def sink(self, settings: ProducerSettings) -> RecordSink:
        cluster = self

        class SlowSink(TakingSink):
            async def start(self) -> None:
                await cluster.starting

        return SlowSink(self)


async def test_an_app_that_starts_goes_on_starting() -> None:
    cluster, app = SlowCluster(), EVKafkaApp()
    app.add_producer({"topic": "t"}, Sender())

    async def run() -> str:
        async with app.running(cluster=cluster):
            assert app.service is not None
            return app.service.status().phase

    running = asyncio.ensure_future(run())
    await cancel_waits()
    assert not running.done()
    cluster.starting.set_result(None)
    assert await running == "running"
