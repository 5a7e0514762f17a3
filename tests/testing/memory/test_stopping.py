"""A stop and a revoke end by their deadlines: an unanswered commit does not prolong them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from evkafka import ConsumerConfig, ErrorPolicy, EVKafkaApp, Handler, Request
from evkafka.exceptions import CommitUnknown, StopApp
from evkafka.records import TopicPartition
from evkafka.runtime.clock import sleep
from evkafka.testing import InMemoryKafka
from evkafka.testing.memory.source import MemorySource
from tests.testing.memory.apps import CONFIG, Seen, make_app


class Unanswered:
    """Commits are not answered while `on`; `begun` is set by the first one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kafka: InMemoryKafka) -> None:
        self.on, self.begun = True, asyncio.Event()
        answered = MemorySource.commit

        async def commit(
            source: MemorySource, offsets: Mapping[TopicPartition, int], *, timeout_s: float, **options: Any
        ) -> None:
            if not self.on:
                return await answered(source, offsets, timeout_s=timeout_s, **options)
            self.begun.set()
            await sleep(kafka.clock, timeout_s)
            raise CommitUnknown("no answer")

        monkeypatch.setattr(MemorySource, "commit", commit)


class TestACommitWithoutAnAnswer:
    async def test_does_not_hold_up_the_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app, seen = make_app(auto_commit_interval_ms=100)
        async with InMemoryKafka() as kafka:
            commits = Unanswered(monkeypatch, kafka)
            async with kafka.running(app):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=3_200)
                assert commits.begun.is_set()
                assert seen == [(0, 0)]
                began_s = kafka.clock.now()
            assert kafka.clock.now() - began_s < 5

    async def test_holds_up_a_revoke_only_for_one_commit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (one, _), (two, _) = make_app(auto_commit_interval_ms=100), make_app()
        async with InMemoryKafka(partitions=2) as kafka:
            commits = Unanswered(monkeypatch, kafka)
            async with kafka.running(one):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=200)
                assert commits.begun.is_set()
                began_s = kafka.clock.now()
                async with kafka.running(two):
                    assert kafka.clock.now() - began_s <= 10.5
                    commits.on = False

    async def test_of_records_handed_over_at_most_once_does_not_hold_up_the_stop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app, seen = make_app(auto_commit_mode="pre-commit", auto_commit_interval_ms=0, drain_timeout_ms=1000)
        async with InMemoryKafka() as kafka:
            commits = Unanswered(monkeypatch, kafka)
            async with kafka.running(app):
                await kafka.send("orders", b"x", "E")
                await kafka.advance(ms=200)
                assert commits.begun.is_set()
                began_s = kafka.clock.now()
            assert kafka.clock.now() - began_s < 6
        assert seen == []


class TestARecordThatStopsTheApp:
    async def test_begins_the_drain_of_all_consumers_at_once(self) -> None:
        """What its own consumer has in flight does not hold up the others, nor the deadline: a stop is one drain."""
        forever, seen, handler = asyncio.Event(), Seen(), Handler()

        @handler.event("Hold")
        async def on_hold(value: bytes, request: Request) -> None:
            seen.append((request.partition, request.offset))
            await forever.wait()

        @handler.event("Stop")
        async def on_stop(value: bytes) -> None:
            raise ValueError("poison")

        app = EVKafkaApp()
        policy: ErrorPolicy = {"max_attempts": 1, "then": "stop"}
        for topic in ("orders", "invoices"):
            own: ConsumerConfig = {"topics": [topic], "group_id": topic, "concurrency": 2, "on_error": policy}
            app.add_consumer({**CONFIG, **own}, handler, topic)
        async with InMemoryKafka() as kafka:
            with pytest.raises(StopApp):  # noqa: PT012 - at the exit
                async with kafka.running(app):
                    service = app.service
                    assert service is not None
                    for topic in ("orders", "invoices"):
                        await kafka.send(topic, b"x", "Hold", key="held")
                    await kafka.advance(ms=100)
                    assert len(seen) == 2
                    began_s = kafka.clock.now()
                    stop = asyncio.ensure_future(service.wait_until_stop_is_needed())
                    await kafka.send("orders", b"x", "Stop", key="poison")
                    await kafka.advance(ms=100)
                    begun, draining = stop.done(), [name for name, _ in service.running_consumers()]
                    stop.cancel()
            assert begun
            assert draining == ["orders", "invoices"]
            assert kafka.clock.now() - began_s < 25

    def test_of_several_leaves_no_failure_that_the_loop_reports(self, caplog: pytest.LogCaptureFixture) -> None:
        """One is raised; the others have been logged as their consumers' ends, and are not reported once more."""

        async def fail_twice() -> None:
            handler = Handler()

            @handler.event("Stop")
            async def on_stop(value: bytes) -> None:
                raise ValueError("poison")

            app = EVKafkaApp()
            policy: ErrorPolicy = {"max_attempts": 1, "then": "stop"}
            for topic in ("orders", "invoices"):
                own: ConsumerConfig = {"topics": [topic], "group_id": topic, "on_error": policy}
                app.add_consumer({**CONFIG, **own}, handler, topic)
            async with InMemoryKafka() as kafka, kafka.running(app):
                for topic in ("orders", "invoices"):
                    await kafka.send(topic, b"x", "Stop")
                await kafka.advance(ms=100)

        with suppress(StopApp):
            asyncio.run(fail_twice())
        gc.collect()
        assert "consumer invoices has ended" in caplog.text
        assert "never retrieved" not in caplog.text
