"""Each metric: a test causes it, and reads it as a scraper does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from evkafka import DeliveryError, EVKafkaApp, Handler, Sender, Skip
from evkafka.observe.prometheus import Histogram
from evkafka.telemetry import EndpointBlocked
from evkafka.testing import InMemoryKafka
from evkafka.testing.memory.faults import CommitFault
from tests.support.http_client import get
from tests.support.waiting import eventually
from tests.web.apps import app_with, handling

Samples = Mapping[tuple[str, ...], float]


async def scrape(app: EVKafkaApp) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample by name, then by the values of its labels, in the order of the labels' names."""
    answer = await get(app.web_url, "metrics")
    assert answer.code == 200
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in prometheus(answer.text):
        for sample in family.samples:
            values = tuple(value for _, value in sorted(sample.labels.items()))
            assert values not in found.setdefault(sample.name, {}), f"{sample.name}{values} stands twice"
            found[sample.name][values] = sample.value
    return found


async def settled(kafka: InMemoryKafka, *events: Any, event_type: str = "OrderPlaced") -> None:
    for event in events:
        await kafka.send("orders", event, event_type=event_type)
    await kafka.settle()


class TestGroups:
    async def test_an_error_in_an_exception_group_is_counted_by_its_own_name(self) -> None:
        async def fail() -> None:
            raise KeyError

        async def handle(event: dict[str, Any]) -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())

        app = app_with(handling(handle), on_error={"max_attempts": 1, "then": "skip"})
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {})
            found = await scrape(app)
        assert found["evkafka_event_exceptions_total"] == {("billing", "OrderPlaced", "KeyError", "orders"): 1.0}


class TestUnwritten:
    async def test_a_dead_letter_that_cannot_be_written_is_counted_until_it_is(self) -> None:
        def handle(event: dict[str, Any]) -> None:
            raise KeyError

        app = app_with(handling(handle), on_error={"max_attempts": 1, "then": "dead_letter"})
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.fail_sends("refused", topic="orders.billing.dlq")
            await kafka.send("orders", {}, event_type="OrderPlaced", partition=0)
            await kafka.advance(ms=1)

            async def count() -> float:
                return (await scrape(app))["evkafka_events_unwritten"]["billing", "0", "orders"]

            assert await count() == 1
            await kafka.settle()
            assert await count() == 0


class TestAPartitionThatIsNotRead:
    async def test_has_a_sample_for_each_reason(self) -> None:
        released = asyncio.Event()
        handler = Handler()

        @handler.event("Slow")
        async def on_slow(event: dict[str, Any]) -> None:
            await released.wait()

        @handler.event("Fast")
        async def on_fast(event: dict[str, Any]) -> None:
            pass

        small: dict[str, Any] = {"concurrency": 4, "max_poll_records": 10, "commit_metadata_max_bytes": 128}
        app = app_with(handler, auto_offset_reset="earliest", **small)
        async with InMemoryKafka() as kafka:
            await kafka.send("orders", {}, event_type="Slow", key="slow", partition=0)
            for number in range(700):  # every second one waits, so that what is finished is no single range
                key = "slow" if number % 2 else f"k{number}"
                await kafka.send("orders", {}, event_type="Fast", key=key, partition=0)
            async with kafka.running(app):
                while not app.status().consumers[0].partitions[0].metadata_full:
                    await kafka.advance(ms=10)
                app.consumer("billing").pause("orders", 0)
                metrics = await scrape(app)
                assert metrics["evkafka_partition_blocked"] == {
                    ("billing", "0", "metadata", "orders"): 1.0,
                    ("billing", "0", "user", "orders"): 1.0,
                }
                assert metrics["evkafka_events_done_ahead"]["billing", "0", "orders"] >= 1
                assert metrics["evkafka_paused_partitions"] == {("billing",): 1.0}
                released.set()


class TestEncoding:
    async def test_does_not_wait_for_threads_of_endpoints(self) -> None:
        """Metrics matter most while endpoints block all of the loop's threads."""
        released = threading.Event()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        hanging = asyncio.ensure_future(asyncio.to_thread(released.wait))
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            try:
                await asyncio.wait_for(scrape(app), 60)
            finally:
                released.set()
            await hanging

    async def test_runs_in_a_thread_on_consistent_figures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from evkafka.observe import metrics

        encode, threads = metrics._encode_registry, []

        def told(registry: Any, accept: str) -> tuple[bytes, str]:
            threads.append(threading.current_thread())
            return encode(registry, accept)

        monkeypatch.setattr(metrics, "_encode_registry", told)
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {"n": 0})
            assert app.metrics is not None
            taken = app.metrics.collector.snapshot()
            await settled(kafka, {"n": 1})
            await scrape(app)
        assert threads != [threading.main_thread()]
        assert len(threads) == 1
        [processed] = [family for family in taken.collect() if family.name == "evkafka_events_processed"]
        assert [sample.value for sample in processed.samples] == [1.0]


class TestProcessed:
    async def test_attempts_are_counted_by_outcome(self) -> None:
        seen: list[int] = []

        def handle(event: dict[str, Any]) -> None:
            seen.append(event["n"])
            if event["n"] == 1 and seen.count(1) == 1:
                raise ValueError
            if event["n"] == 2:
                raise Skip("not ours")
            if event["n"] == 3:
                raise KeyError

        app = app_with(handling(handle), on_error={"max_attempts": 2, "then": "dead_letter"})
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {"n": 0}, {"n": 1}, {"n": 2}, {"n": 3})
            metrics = await scrape(app)
        processed = metrics["evkafka_events_processed_total"]
        assert {status: count for (_, _, status, _), count in processed.items()} == {
            "ok": 2.0,
            "retried": 2.0,
            "skipped": 1.0,
            "dead_lettered": 1.0,
        }
        exceptions = metrics["evkafka_event_exceptions_total"]
        assert {labels[2]: count for labels, count in exceptions.items()} == {"ValueError": 1.0, "KeyError": 2.0}

    async def test_a_failed_and_skipped_record_is_counted_as_failed(self) -> None:
        def fail(event: dict[str, Any]) -> None:
            raise ValueError

        app = app_with(handling(fail), on_error={"max_attempts": 1, "then": "skip"})
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {})
            metrics = await scrape(app)
        assert metrics["evkafka_events_processed_total"] == {("billing", "OrderPlaced", "failed", "orders"): 1.0}

    async def test_labels_are_consumer_topic_event_and_status(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {})
            text = (await get(app.web_url, "metrics")).text
        assert (
            'evkafka_events_processed_total{consumer="billing",event="OrderPlaced",status="ok",topic="orders"} 1.0'
            in text
        )

    async def test_durations_are_a_histogram(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {}, {})
            metrics = await scrape(app)
        assert metrics["evkafka_event_duration_seconds_count"] == {("billing", "OrderPlaced", "orders"): 2.0}
        assert metrics["evkafka_event_duration_seconds_bucket"][("billing", "OrderPlaced", "+Inf", "orders")] == 2.0

    async def test_sizes_are_a_histogram(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"{}", event_type="OrderPlaced", key="1")
            await kafka.send("orders", b'{"note": "' + b"x" * 1000 + b'"}', event_type="OrderPlaced")
            await kafka.settle()
            metrics = await scrape(app)
        assert metrics["evkafka_event_size_bytes_count"] == {("billing", "orders"): 2.0}
        assert metrics["evkafka_event_size_bytes_sum"] == {("billing", "orders"): 2.0 + 1012.0}
        assert metrics["evkafka_event_size_bytes_bucket"][("billing", "64.0", "orders")] == 1.0

    async def test_unmatched_records_are_counted_by_reason(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {}, event_type="Unknown")
            metrics = await scrape(app)
        assert metrics["evkafka_events_unmatched_total"] == {("billing", "no_endpoint", "orders"): 1.0}

    async def test_lost_records_are_counted(self) -> None:
        going_on, released = asyncio.Event(), asyncio.Event()

        async def wait(event: dict[str, Any]) -> None:
            going_on.set()
            await released.wait()

        config = {"auto_commit_mode": "pre-commit", "revoke_drain_timeout_ms": 100}
        app = app_with(handling(wait), **config)
        async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
            for _ in range(3):
                await kafka.send("orders", {}, event_type="OrderPlaced")
            await going_on.wait()
            rebalance = asyncio.ensure_future(kafka.rebalance())
            metrics: dict[str, dict[tuple[str, ...], float]] = {}
            while ("billing", "", "lost", "orders") not in metrics.get("evkafka_events_processed_total", {}):
                await kafka.advance(ms=50)
                metrics = await scrape(app)
            released.set()
            await rebalance
        assert metrics["evkafka_events_processed_total"][("billing", "", "lost", "orders")] == 3.0


class TestConsumers:
    async def test_lag_positions_and_records_in_flight_are_read_at_the_scrape(self) -> None:
        going_on, released = asyncio.Event(), asyncio.Event()

        async def wait(event: dict[str, Any]) -> None:
            going_on.set()
            await released.wait()

        app = app_with(handling(wait))
        async with InMemoryKafka() as kafka, kafka.running(app):
            for _ in range(3):
                await kafka.send("orders", {}, event_type="OrderPlaced")
            await going_on.wait()
            metrics = await scrape(app)
            assert metrics["evkafka_events_in_flight"] == {("billing",): 1.0}
            assert metrics["evkafka_consumer_lag"] == {("billing", "0", "orders"): 3.0}
            assert metrics["evkafka_consumer_lag_seconds"][("billing", "0", "orders")] >= 0.0
            assert metrics["evkafka_uncommitted_events"] == {("billing", "0", "orders"): 3.0}
            assert metrics["evkafka_consumer_log_end_offset"] == {("billing", "0", "orders"): 3.0}
            assert metrics["evkafka_consumer_watermark_offset"] == {("billing", "0", "orders"): 0.0}
            assert metrics["evkafka_consumer_info"] == {("billing", "billing"): 1.0}
            assert metrics["evkafka_assigned_partitions"] == {("billing",): 1.0}
            assert metrics["evkafka_consumer_connected"] == {("billing",): 1.0}
            released.set()
            await kafka.settle()
            metrics = await scrape(app)
            assert metrics["evkafka_consumer_lag"] == {("billing", "0", "orders"): 0.0}
            assert metrics["evkafka_consumer_lag_seconds"] == {("billing", "0", "orders"): 0.0}
            assert metrics["evkafka_consumer_committed_offset"] == {("billing", "0", "orders"): 3.0}
            assert metrics["evkafka_consumer_watermark_offset"] == {("billing", "0", "orders"): 3.0}
            assert metrics["evkafka_consumer_position_offset"] == {("billing", "0", "orders"): 3.0}

    async def test_a_paused_partition_shows_its_lag_and_since_when(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.settle()
            app.consumer("billing").pause("orders", 0)
            await kafka.advance(ms=1_000)  # the running poll has returned
            await kafka.send("orders", {}, event_type="OrderPlaced", timestamp_ms=1_000)
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await kafka.advance(ms=1_000)
            metrics = await scrape(app)
            assert metrics["evkafka_consumer_lag"] == {("billing", "0", "orders"): 2.0}
            assert metrics["evkafka_consumer_lag_seconds"][("billing", "0", "orders")] > 365 * 24 * 3600
            app.consumer("billing").resume("orders", 0)
            await kafka.settle()
            assert (await scrape(app))["evkafka_consumer_lag_seconds"] == {("billing", "0", "orders"): 0.0}

    async def test_a_lag_in_seconds_is_counted_on_the_clock_of_the_records(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.settle()
            app.consumer("billing").pause("orders", 0)
            await kafka.advance(ms=1_000)  # the running poll has returned
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await kafka.advance(ms=5_000)
            assert (await scrape(app))["evkafka_consumer_lag_seconds"] == {("billing", "0", "orders"): 5.0}

    async def test_an_open_transaction_shows_both_ends(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            async with kafka.transaction() as transaction:
                await transaction.send("orders", {}, event_type="OrderPlaced")
                await kafka.advance(ms=1_000)
                metrics = await scrape(app)
                assert metrics["evkafka_consumer_lag"] == {("billing", "0", "orders"): 0.0}
                assert metrics["evkafka_consumer_log_end_offset"] == {("billing", "0", "orders"): 1.0}
                assert metrics["evkafka_consumer_high_watermark_offset"] == {("billing", "0", "orders"): 2.0}

    async def test_commits_are_counted_by_result(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.fail_commits("unavailable")
            await settled(kafka, {})
            metrics = await scrape(app)
        assert metrics["evkafka_commits_total"][("billing", "failed")] == 1.0
        assert metrics["evkafka_commits_total"][("billing", "ok")] >= 1.0
        assert metrics["evkafka_commit_duration_seconds_count"][("billing",)] >= 1.0

    @pytest.mark.parametrize("interval_ms", [0, 200])
    async def test_commits_of_pre_commit_are_counted_and_their_offset_is_known(self, interval_ms: int) -> None:
        app = app_with(auto_commit_mode="pre-commit", auto_commit_interval_ms=interval_ms)
        async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
            await settled(kafka, {}, {})
            await kafka.advance(ms=1_000)
            metrics = await scrape(app)
        assert metrics["evkafka_commits_total"][("billing", "ok")] >= 1.0
        assert metrics["evkafka_commits_total"].get(("billing", "failed"), 0.0) == 0.0
        assert metrics["evkafka_commit_duration_seconds_count"][("billing",)] >= 1.0
        assert metrics["evkafka_consumer_committed_offset"] == {("billing", "0", "orders"): 2.0}

    @pytest.mark.parametrize("fault", ["refused", "unknown, lost"])
    async def test_a_commit_of_pre_commit_that_fails_is_counted(self, fault: CommitFault) -> None:
        app = app_with(auto_commit_mode="pre-commit", auto_commit_interval_ms=0)
        async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
            kafka.fail_commits(fault)
            await settled(kafka, {})
            metrics = await scrape(app)
        assert metrics["evkafka_commits_total"][("billing", "failed")] == 1.0

    async def test_a_commit_that_the_client_cannot_send_by_itself_is_counted(self) -> None:
        app = app_with(auto_commit_mode="pre-commit", auto_commit_interval_ms=1_000)
        async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            async with kafka.outage(ms=1_500):
                pass
            metrics = await scrape(app)
        assert metrics["evkafka_commits_total"][("billing", "failed")] >= 1.0

    async def test_transactions_are_counted_by_result_and_kept_records_until_they_are_written(self) -> None:
        handler, sender = Handler(), Sender()

        @sender.event("Billed", topic="bills")
        async def send_bill(bill: dict[str, Any]) -> None: ...

        @handler.event("OrderPlaced")
        async def on_order(order: dict[str, Any]) -> None:
            await send_bill(order)

        app = app_with(handler, auto_commit_mode="exactly-once", transaction_interval_ms=1_000)
        app.add_producer({}, sender)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {})
            kafka.fail_commits("unavailable")
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await kafka.advance(ms=100)
            kept = await scrape(app)
            await kafka.settle()
            metrics = await scrape(app)
        assert kept["evkafka_kept_records"] == {("billing",): 1.0}
        assert kept["evkafka_kept_bytes"][("billing",)] > 0
        assert metrics["evkafka_kept_records"] == {("billing",): 0.0}
        assert metrics["evkafka_open_transaction_seconds"] == {("billing",): 0.0}
        assert metrics["evkafka_transactions_total"][("billing", "aborted")] == 1.0
        assert metrics["evkafka_transactions_total"][("billing", "committed")] >= 2.0
        assert metrics["evkafka_transaction_seconds_count"][("billing",)] >= 3.0

    async def test_a_send_of_an_exactly_once_endpoint_is_counted_when_its_transaction_is_committed(self) -> None:
        handler, sender = Handler(), Sender()
        attempts = 0

        @sender.event("Billed", topic="bills")
        async def send_bill(bill: dict[str, Any]) -> None: ...

        @handler.event("OrderPlaced")
        async def on_order(order: dict[str, Any]) -> None:
            nonlocal attempts
            attempts += 1
            await send_bill(order)
            if attempts < 3:
                raise ValueError

        app = app_with(handler, auto_commit_mode="exactly-once", transaction_interval_ms=9_000)
        app.add_producer({}, sender)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            while attempts < 3:
                await kafka.advance(ms=100)
            kept = await scrape(app)
            await kafka.settle()
            metrics = await scrape(app)
        assert "evkafka_published_total" not in kept
        assert metrics["evkafka_published_total"] == {("ok", "bills"): 1.0}
        assert metrics["evkafka_publish_duration_seconds_count"] == {("bills",): 1.0}

    async def test_a_send_that_cannot_be_kept_for_a_transaction_is_counted_as_failed(self) -> None:
        handler, sender = Handler(), Sender()

        @sender.event("Billed", topic="bills")
        async def send_bill(bill: bytes) -> None: ...

        @handler.event("OrderPlaced")
        async def on_order(order: dict[str, Any]) -> None:
            await send_bill(bytes(2_000_000))

        config: Any = {"max_attempts": 1, "then": "skip"}
        app = app_with(handler, auto_commit_mode="exactly-once", on_error=config)
        app.add_producer({}, sender)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {})
            metrics = await scrape(app)
        assert metrics["evkafka_published_total"] == {("failed", "bills"): 1.0}

    async def test_series_of_a_partition_end_when_it_is_revoked(self) -> None:
        app, other = app_with(), app_with()
        async with InMemoryKafka(partitions=2) as kafka, kafka.running(app):
            assert len((await scrape(app))["evkafka_consumer_lag"]) == 2
            async with kafka.running(other):
                await kafka.advance(ms=10_000)
                metrics = await scrape(app)
                assert len(metrics["evkafka_consumer_lag"]) == 1
                assert metrics["evkafka_rebalances_total"][("billing",)] >= 2.0
                counted = metrics["evkafka_rebalance_duration_seconds_count"]
                assert counted == metrics["evkafka_rebalances_total"]
                assert metrics["evkafka_assigned_partitions"] == {("billing",): 1.0}

    async def test_rebuilds_are_counted(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.fail_polls(OSError("the cable is out"))
            await kafka.advance(ms=10_000)
            metrics = await scrape(app)
        assert metrics["evkafka_consumer_rebuilds_total"] == {("billing",): 1.0}

    async def test_retrying_records_and_paused_partitions_are_counted(self) -> None:
        def fail(event: dict[str, Any]) -> None:
            raise ValueError

        app = app_with(handling(fail))
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await eventually(lambda: app.status().consumers[0].partitions[0].retrying)
            app.consumer("billing").pause("orders", 0)
            await eventually(lambda: app.status().consumers[0].partitions[0].paused)
            metrics = await scrape(app)
        assert metrics["evkafka_events_awaiting_retry"] == {("billing", "0", "orders"): 1.0}
        assert metrics["evkafka_paused_partitions"] == {("billing",): 1.0}

    async def test_a_blocked_event_loop_is_counted(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            app.telemetry.emit(EndpointBlocked("billing", "orders", 0, 7, "shop.on_order", 2.5))
            metrics = await scrape(app)
        assert metrics["evkafka_event_loop_blocked_total"] == {("billing", "shop.on_order"): 1.0}


class TestPublished:
    async def test_sends_are_counted_by_result(self) -> None:
        sender, app = Sender(), EVKafkaApp(web=True, web_port=0)

        @sender.event("Paid", topic="payments")
        async def send_paid(event: dict[str, Any]) -> None: ...

        app.add_producer({}, sender)
        async with InMemoryKafka() as kafka, kafka.running(app):
            await asyncio.wait_for(_moving(kafka, send_paid({})), 60)
            kafka.fail_sends("refused")
            with pytest.raises(DeliveryError):
                await asyncio.wait_for(_moving(kafka, send_paid({})), 60)
            metrics = await scrape(app)
        assert metrics["evkafka_published_total"] == {("ok", "payments"): 1.0, ("failed", "payments"): 1.0}
        assert metrics["evkafka_publish_duration_seconds_count"] == {("payments",): 2.0}


async def _moving(kafka: InMemoryKafka, sending: Any) -> Any:
    """Run the send while the clock advances."""
    task = asyncio.ensure_future(sending)
    while not task.done():
        await kafka.advance(ms=10)
    return task.result()


class TestExposition:
    async def test_openmetrics_is_used_if_the_scraper_accepts_it(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await settled(kafka, {})
            answer = await get(app.web_url, "metrics", accept="application/openmetrics-text; version=1.0.0")
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert "evkafka_events_processed" in {family.name for family in openmetrics(answer.text)}

    async def test_metrics_that_the_process_has_registered_are_included(self) -> None:
        gauge = Gauge("shop_open_tills", "Tills that are open.", registry=REGISTRY)
        try:
            gauge.set(3)
            app = app_with()
            async with InMemoryKafka() as kafka, kafka.running(app):
                assert (await scrape(app))["shop_open_tills"] == {(): 3.0}
        finally:
            REGISTRY.unregister(gauge)

    async def test_two_apps_in_one_process_are_separate(self) -> None:
        app, other = app_with(), app_with(name="other")
        async with InMemoryKafka() as kafka, kafka.running(app), kafka.running(other):
            assert set((await scrape(other))["evkafka_assigned_partitions"]) == {("other",)}

    def test_a_registry_takes_the_collector(self) -> None:
        app = app_with(Handler())
        app.asgi()
        assert app.metrics is not None
        CollectorRegistry().register(app.metrics.collector)

    async def test_without_the_extra_one_sentence_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evkafka.observe.metrics.find_spec", lambda name: None)
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            answer = await get(app.web_url, "metrics")
        assert answer.code == 404
        assert "pip install 'evkafka[metrics]'" in answer.text


def test_every_metric_has_a_test() -> None:
    app = app_with(Handler())
    app.asgi()
    assert app.metrics is not None
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_[mr]*.py"))
    ending = {"counter": "_total", "histogram": "_count", "gauge": ""}
    names = {family.name + ending[family.type] for family in app.metrics.collector.collect()}
    assert {name for name in names if f'"{name}"' not in tests} == set()


class TestHistogram:
    def test_buckets_include_their_upper_bound(self) -> None:
        histogram = Histogram((1.0, 2.0))
        histogram.add_values([0.5, 1.0, 1.5, 2.0, 99.0])
        assert histogram.buckets() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
        histogram.add_values([0.1, 0.2])
        assert histogram.buckets() == [("1.0", 4.0), ("2.0", 6.0), ("+Inf", 7.0)]
        assert histogram.sum == pytest.approx(104.3)
