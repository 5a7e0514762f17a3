"""Each condition of health: a test causes it. The clock is that of the in-memory Kafka."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.exceptions import StartFailed, StopApp
from evkafka.observe.health import Check, Health
from evkafka.runtime.consumer_watchdog import ConsumerWatchdog
from evkafka.telemetry import EndpointBlocked
from evkafka.testing import InMemoryKafka
from evkafka.testing.memory.source import MemorySource
from tests.support.http_client import get
from tests.support.waiting import eventually
from tests.web.apps import app_with, handling
from tests.web.asgi import ask


def live(app: EVKafkaApp) -> Health:
    return app.health.live(app.status())


def ready(app: EVKafkaApp) -> Health:
    return app.health.ready(app.status())


def consumer(health: Health, name: str = "billing") -> Check:
    [check] = [check for check in health.checks if (check.kind, check.name) == ("consumer", name)]
    return check


class TestAnswers:
    async def test_a_running_app_is_live_ready_and_started(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            for path in ("livez", "healthz", "readyz", "startupz"):
                answer = await get(app.web_url, path)
                assert (answer.code, answer.text) == (200, "ok\n")

    async def test_verbose_reports_each_part(self) -> None:
        app = app_with()
        app.add_producer({}, Sender(), name="invoices")
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.go_away()
            answer = await get(app.web_url, "readyz?verbose")
            kafka.come_back()
        assert answer.code == 503
        assert answer.json() == {
            "status": "not ok",
            "app": {"status": "ok", "reasons": [], "notes": []},
            "consumers": {
                "billing": {"status": "not ok", "reasons": ["the brokers do not answer"], "notes": []},
            },
            "producers": {
                "invoices": {"status": "not ok", "reasons": ["the in-memory Kafka is unavailable"], "notes": []},
            },
        }

    async def test_before_the_start_and_after_the_end_it_is_live_and_not_ready(self) -> None:
        app = app_with()
        assert live(app).ok
        assert ready(app).checks[0].reasons == ("the app has not been started",)
        assert not app.health.started(app.status()).ok
        async with InMemoryKafka() as kafka, kafka.running(app):
            pass
        assert live(app).ok
        assert ready(app).checks[0].reasons == ("the app has stopped",)


class TestStarted:
    async def test_it_is_when_lifespan_producers_and_consumers_have_started(self) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            begun.set()
            await go_on.wait()
            yield

        app = EVKafkaApp(lifespan=lifespan)
        app.add_consumer({"topics": ["orders"], "group_id": "billing"}, handling(), name="billing")
        mounted = app.asgi()
        assert (await ask(mounted, "/startupz")).code == 503
        async with InMemoryKafka() as kafka, AsyncExitStack() as stack:
            starting = asyncio.ensure_future(stack.enter_async_context(kafka.running(app)))
            await begun.wait()
            answer = (await ask(mounted, "/startupz", "verbose")).json()
            assert answer["app"]["reasons"] == ["the app is starting"]
            assert (await ask(mounted, "/readyz")).code == 503
            assert (await ask(mounted, "/livez")).code == 200
            go_on.set()
            await starting
            assert (await ask(mounted, "/startupz")).code == 200
            async with kafka.outage(ms=60_000):  # after the start it no longer matters
                assert (await ask(mounted, "/startupz")).code == 200
        assert (await ask(mounted, "/startupz")).code == 503


class TestLive:
    async def test_a_thread_past_its_time_limit_makes_it_dead_until_it_ends(self) -> None:
        handler, release = Handler(), threading.Event()

        @handler.event("OrderPlaced", timeout_ms=100)
        def on_order(event: dict[str, Any]) -> None:
            release.wait(60)

        app = app_with(handler)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            try:
                await eventually(lambda: app.status().consumers[0].attempts)
                assert live(app).ok
                await kafka.advance(ms=400)
                [reason] = consumer(live(app)).reasons
                assert "on_order has been running at orders[0]@0" in reason
                assert "past its time limit, and cannot be cancelled" in reason
                assert (await get(app.web_url, "livez")).code == 503
                assert ready(app).ok
            finally:
                release.set()
            await eventually(lambda: live(app).ok)

    async def test_an_endpoint_that_ignores_cancellation_makes_it_dead_until_it_ends(self) -> None:
        handler, going_on, release = Handler(), asyncio.Event(), asyncio.Event()

        @handler.event("OrderPlaced", timeout_ms=100)
        async def on_order(event: dict[str, Any]) -> None:
            going_on.set()
            while not release.is_set():
                with suppress(asyncio.CancelledError):
                    await release.wait()

        app = app_with(handler)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await going_on.wait()
            assert live(app).ok
            while live(app).ok:
                await kafka.advance(ms=500)
            assert "on_order has been running at orders[0]@0" in consumer(live(app)).reasons[0]
            release.set()
            await eventually(lambda: live(app).ok)

    async def test_a_poll_that_does_not_return_makes_it_dead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = app_with(rebalance_timeout_ms=60_000, session_timeout_ms=10_000)
        async with InMemoryKafka() as kafka, kafka.running(app):

            async def hang(self: MemorySource, *args: Any, **options: Any) -> Any:
                await asyncio.Future()

            monkeypatch.setattr(MemorySource, "poll", hang)
            monkeypatch.setattr(
                ConsumerWatchdog, "_fail_consumer_if_stalled", lambda *_: None
            )  # it would rebuild the consumer
            await kafka.advance(ms=129_000)
            assert live(app).ok
            await kafka.advance(ms=2_000)
            [reason] = consumer(live(app)).reasons
            assert reason.startswith("its poll has not returned for 13")
            monkeypatch.undo()

    async def test_a_rebalance_that_does_not_end_makes_it_dead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = app_with(rebalance_timeout_ms=60_000, session_timeout_ms=10_000)
        async with InMemoryKafka() as kafka, kafka.running(app):
            monkeypatch.setattr(MemorySource, "state", lambda self: "joining")
            await kafka.advance(ms=100_000)
            assert live(app).ok
            assert consumer(ready(app)).reasons[0].startswith("its group has been rebalancing for ")
            said: list[str] = []
            for _ in range(400):
                await kafka.advance(ms=100)
                said += consumer(live(app)).reasons
            assert "its group has been rebalancing for 130 s" in said
            monkeypatch.undo()

    async def test_a_fatal_error_makes_it_dead(self) -> None:
        def fail(event: dict[str, Any]) -> None:
            raise ValueError("no such customer")

        app = app_with(handling(fail), on_error={"max_attempts": 1, "then": "stop"})
        async with InMemoryKafka() as kafka:
            with pytest.raises(StopApp, match="stops the app"):
                await self._fail_fatally(kafka, app)

    async def _fail_fatally(self, kafka: InMemoryKafka, app: EVKafkaApp) -> None:
        async with kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await eventually(lambda: not live(app).ok)
            [reason] = live(app).checks[0].reasons
            assert "a consumer has failed" in reason
            assert "orders[0]@0" in reason
            assert (await get(app.web_url, "livez")).code == 503
            assert consumer(ready(app)).reasons == ("it has ended",)


class TestReady:
    async def test_an_outage_makes_it_unready_and_not_dead(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            async with kafka.outage(ms=600_000):
                assert (await get(app.web_url, "livez")).code == 200
                assert (await get(app.web_url, "readyz")).code == 503
                assert consumer(ready(app)).reasons[0].startswith("the brokers do not answer")
            await kafka.advance(ms=30_000)
            assert live(app).ok
            assert (await get(app.web_url, "readyz")).code == 200

    async def test_a_missing_topic_makes_it_unready_and_is_named(self) -> None:
        app = app_with()
        async with InMemoryKafka(auto_create_topics=False) as kafka, kafka.running(app, joined=False):
            await kafka.advance(ms=1_000)
            assert "waiting for its topics (orders)" in consumer(ready(app)).reasons[0]
            assert live(app).ok
            kafka.create_topic("orders")
            await kafka.advance(ms=5_000)
            assert ready(app).ok

    async def test_a_member_without_partitions_is_ready_and_says_so(self) -> None:
        first, second = app_with(), app_with()
        async with InMemoryKafka(partitions=1) as kafka, kafka.running(first), kafka.running(second):
            await kafka.advance(ms=5_000)
            notes = [consumer(ready(app)).notes for app in (first, second)]
            assert ready(first).ok
            assert ready(second).ok
            assert sorted(map(len, notes)) == [0, 1]
            assert "no partitions assigned" in max(notes)[0]

    async def test_it_is_not_ready_while_its_group_rebalances(self) -> None:
        going_on, released = asyncio.Event(), asyncio.Event()

        async def wait(event: dict[str, Any]) -> None:
            going_on.set()
            await released.wait()

        app = app_with(handling(wait))
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await going_on.wait()
            rebalance = asyncio.ensure_future(kafka.rebalance())
            await eventually(lambda: not ready(app).ok)
            assert "rebalancing" in consumer(ready(app)).reasons[0]
            released.set()
            await rebalance
            assert ready(app).ok

    async def test_a_consumer_that_reconnects_reports_why(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.fail_polls(OSError("the cable is out"))
            await eventually(lambda: not ready(app).ok)
            assert consumer(ready(app)).reasons == ("it has no connection: OSError: the cable is out",)
            assert live(app).ok
            await kafka.advance(ms=10_000)
            assert ready(app).ok

    async def test_a_consumer_that_is_not_required_is_reported_and_does_not_count(self) -> None:
        app = app_with(required=False)
        async with InMemoryKafka() as kafka, kafka.running(app), kafka.outage():
            health = ready(app)
            assert health.ok
            assert not consumer(health).ok
            assert "it is not `required`" in consumer(health).notes

    async def test_an_app_that_is_stopping_is_not_ready(self) -> None:
        going_on, released = asyncio.Event(), asyncio.Event()

        async def wait(event: dict[str, Any]) -> None:
            going_on.set()
            await released.wait()

        app = app_with(handling(wait))
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await going_on.wait()
            app.stop()
            await eventually(lambda: not ready(app).ok)
            assert ready(app).checks[0].reasons == ("the app is stopping",)
            assert live(app).ok
            released.set()

    async def test_a_consumer_that_is_stopping_says_so(self) -> None:
        going_on, released = asyncio.Event(), asyncio.Event()

        async def wait(event: dict[str, Any]) -> None:
            going_on.set()
            await released.wait()

        app = app_with(handling(wait))
        async with InMemoryKafka() as kafka, AsyncExitStack() as stack:
            await stack.enter_async_context(kafka.running(app))
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await going_on.wait()
            stopping = asyncio.ensure_future(stack.aclose())
            await eventually(lambda: consumer(ready(app)).reasons == ("it is stopping",))
            released.set()
            await stopping

    async def test_a_producer_whose_cluster_is_unavailable_makes_it_unready(self) -> None:
        app = EVKafkaApp(web=True, web_port=0)
        app.add_producer({}, Sender(), name="invoices")
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert ready(app).ok
            kafka.go_away()
            assert not ready(app).ok
            kafka.come_back()
            assert ready(app).ok

    async def test_an_app_that_could_not_start_is_not_ready(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka:
            kafka.go_away()
            with pytest.raises(StartFailed):
                async with kafka.running(app):
                    pass
        assert not ready(app).ok


class TestNotes:
    async def test_records_that_wait_for_a_retry_are_a_note_and_no_fault(self) -> None:
        def fail(event: dict[str, Any]) -> None:
            raise ValueError

        app = app_with(handling(fail))
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await eventually(lambda: consumer(ready(app)).notes)
            assert consumer(ready(app)).notes == (
                "orders[0]: records waiting for their next attempt: 1, the oldest at offset 0",
            )
            assert ready(app).ok

    async def test_an_unreadable_record_is_a_note(self) -> None:
        app = app_with(auto_offset_reset="earliest")
        async with InMemoryKafka() as kafka:
            await kafka.send("orders", {}, event_type="OrderPlaced")
            kafka.make_unreadable("orders", offset=0)
            async with kafka.running(app):
                await eventually(lambda: consumer(ready(app)).notes)
                assert "orders[0]@0 cannot be read by the client" in consumer(ready(app)).notes[0]
                assert ready(app).ok

    async def test_a_paused_partition_is_a_note(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            app.consumer("billing").pause("orders", 0)
            await eventually(lambda: consumer(ready(app)).notes == ("orders[0] is paused",))

    async def test_code_that_blocked_the_event_loop_is_a_note_for_a_while(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            app.telemetry.emit(EndpointBlocked("billing", "orders", 0, 7, "shop.on_order", 2.5))
            [note] = consumer(live(app)).notes
            assert note == "shop.on_order blocked the event loop for 2.5 s at orders[0]@7, 0 s ago"
