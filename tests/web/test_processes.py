"""Metrics of several processes: the scraped process reports the sums of all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from evkafka import EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from evkafka.exceptions import StartFailed
from evkafka.observe.process_health import ProcessHealth
from evkafka.observe.process_metrics import MINIMUM, SUMMED, ProcessMetrics, encode_file
from evkafka.observe.shared_directory import cached_shared_directory
from evkafka.testing import InMemoryKafka
from tests.support.http_client import get
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually
from tests.web.apps import app_with

ROOT = Path(__file__).parents[2]
PARTITIONS = [0, 1]
RECORDS = 40

Start = Callable[[str], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(tmp_path: Path, kafka_broker: KafkaBroker) -> Iterator[Start]:
    """Start one more process; returns it and its address."""
    started: list[subprocess.Popen[str]] = []

    def start_one(topic: str) -> tuple[subprocess.Popen[str], str]:
        environment = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
            "TOPIC": topic,
            "SERVERS": kafka_broker.bootstrap_servers,
        }
        (tmp_path / "metrics").mkdir(exist_ok=True)  # prometheus-client requires it at its import
        command = [sys.executable, "-m", "tests.web.sharer"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start_one
    for process in started:
        process.kill()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


async def totals(url: str) -> dict[str, float]:
    """The sum over all labels by sample name. No series may occur twice."""
    found: dict[str, float] = {}
    seen = set()
    for family in text_string_to_metric_families((await get(url, "metrics")).text):
        for sample in family.samples:
            series = sample.name, tuple(sorted(sample.labels.items()))
            assert series not in seen, f"{series} stands twice"
            seen.add(series)
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


@pytest.mark.kafka
class TestTwoProcesses:
    async def test_one_reports_both_and_the_counters_of_a_killed_one(
        self, start: Start, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name = await topic(partitions=len(PARTITIONS))
        (_, url), (other, other_url) = start(name), start(name)

        async def share(*, parts: int, tills: int) -> bool:
            sums = await totals(url)
            return sums["evkafka_assigned_partitions"] == parts and sums["shop_tills"] == tills

        async def each_has_one() -> bool:
            lags = [(await get(one, "readyz?verbose")).json()["consumers"]["billing"] for one in (url, other_url)]
            return all(one["status"] == "ok" and not one["notes"] for one in lags)

        async def workers() -> dict[str, Any]:
            workers: dict[str, Any] = (await get(url, "readyz?verbose")).json().get("workers", {})
            return workers

        await eventually(each_has_one)

        async def all_are_well() -> bool:
            return await workers() == {str(other.pid): {"status": "ok", "reasons": [], "notes": []}}

        await eventually(all_are_well)
        await eventually(lambda: share(parts=2, tills=2))
        async with EVKafkaProducer({"bootstrap_servers": kafka_broker.bootstrap_servers, "topic": name}) as producer:
            for number in range(RECORDS):
                await producer.send_event({}, "OrderPlaced", partition=PARTITIONS[number % 2])

        async def all_are_counted() -> bool:
            sums = await totals(url)
            handled = sums.get("evkafka_events_processed_total") == RECORDS == sums["shop_billed_total"]
            return (
                handled and sums.get("evkafka_consumer_committed_offset") == RECORDS
            )  # otherwise those of the dead process would come again

        await eventually(all_are_counted)
        sums = await totals(url)
        assert sums["evkafka_event_duration_seconds_count"] == RECORDS
        assert sums["evkafka_consumer_log_end_offset"] == RECORDS
        assert sums["evkafka_consumer_connected"] == 1
        assert (await totals(other_url))["evkafka_events_processed_total"] == RECORDS

        other.kill()
        other.wait(60)
        assert await workers() == {}
        assert (await totals(url))["shop_tills"] == 1  # at once: no gauge of the dead process is reported
        await eventually(lambda: share(parts=2, tills=1))  # the remaining process has both parts
        sums = await totals(url)
        assert sums["evkafka_events_processed_total"] == RECORDS == sums["shop_billed_total"]
        assert sums["evkafka_event_duration_seconds_bucket"] > 0


def gauges(directory: Path) -> list[Path]:
    return list(directory.rglob("gauge_*evkafka*.db"))


def tellings(directory: Path) -> list[Path]:
    return list(directory.glob("evkafka-health*"))


class TestOneProcess:
    async def test_that_ends_leaves_its_counters_and_no_gauges(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "made" / "for it"))
        first, second = app_with(), app_with()
        async with InMemoryKafka() as kafka:
            async with kafka.running(first):
                await kafka.send("orders", {}, event_type="OrderPlaced")
                await kafka.settle()
            async with kafka.running(second):
                await kafka.send("orders", {}, event_type="OrderPlaced")
                await kafka.settle()
                assert second.web_url is not None
                sums = await totals(second.web_url)
        assert sums["evkafka_events_processed_total"] == 2
        assert sums["evkafka_assigned_partitions"] == 1
        assert not gauges(tmp_path)

    async def test_without_its_own_web_server_it_is_counted_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        silent, other = app_with(), app_with(name="other")
        silent.web = False
        async with InMemoryKafka() as kafka, kafka.running(silent), kafka.running(other):
            assert silent.metrics is not None

            async def is_told() -> bool:
                text = (await get(other.web_url, "metrics")).text
                return 'evkafka_consumer_connected{consumer="billing"} 1.0' in text

            await eventually(is_told)

    async def test_a_directory_that_cannot_be_created_prevents_the_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "file"))
        async with InMemoryKafka() as kafka:
            with pytest.raises(StartFailed, match=r"PROMETHEUS_MULTIPROC_DIR names .*that directory cannot be created"):
                async with kafka.running(app_with()):
                    pass

    async def test_series_end_when_they_are_not_reported_any_more(self, tmp_path: Path) -> None:
        class Collector:
            def __init__(self) -> None:
                self.partitions = ["0", "1"]

            def collect(self) -> Iterator[GaugeMetricFamily]:
                family = GaugeMetricFamily("evkafka_consumer_lag", "", labels=("partition",))
                for partition in self.partitions:
                    family.add_metric((partition,), 5)
                yield family

        collector = Collector()
        sharing = ProcessMetrics(collector, tmp_path)

        def reported() -> list[str]:
            sharing.write_values()
            [family] = sharing.collect_all_processes().collect()
            return [sample.labels["partition"] for sample in family.samples]

        async with sharing.share_values():
            assert reported() == ["0", "1"]
            collector.partitions = ["1"]
            assert reported() == ["1"]


class TestHealth:
    async def test_of_another_process_is_reported_and_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        handler, release = Handler(), threading.Event()

        @handler.event("OrderPlaced", timeout_ms=100)
        def on_order(event: dict[str, Any]) -> None:
            release.wait(60)

        stuck, asked = app_with(handler, topics=["stuck"]), app_with(name="other")
        stuck.web = False

        async def fetch(path: str) -> tuple[int, Any]:
            answer = await get(asked.web_url, f"{path}?verbose")
            return answer.code, answer.json().get("workers", {}).get(str(os.getpid()))

        async with InMemoryKafka() as kafka, kafka.running(stuck), kafka.running(asked):
            await eventually(lambda: self._is(fetch("readyz"), 200, []))
            await kafka.send("stuck", {}, event_type="OrderPlaced")
            await eventually(lambda: stuck.status().consumers[0].attempts)
            await kafka.advance(ms=1_000)
            try:
                await eventually(lambda: self._is(fetch("livez"), 503, ["consumer billing: ", "cannot be cancelled"]))
            finally:
                release.set()
            await eventually(lambda: self._is(fetch("livez"), 200, []))
        assert not tellings(tmp_path)

    async def _is(self, asking: Awaitable[tuple[int, Any]], code: int, words: list[str]) -> bool:
        answered, worker = await asking
        if worker is None or answered != code:
            return False
        return all(word in "".join(worker["reasons"]) for word in words)

    def test_of_a_silent_process_is_bad_and_of_a_dead_one_is_removed(self, tmp_path: Path) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            ended.wait(60)
        for pid in (os.getpid(), ended.pid):
            said = {"at_s": time.time() - 100, "live": [], "ready": [], "started": []}
            (tmp_path / f"evkafka-health-{pid}-0123.json").write_text(json.dumps(said))
        [silent] = ProcessHealth(tmp_path, dict).check_others("live")
        assert silent.name == str(os.getpid())
        assert "it has not reported for 100 s: its event loop is blocked, or the process is paused" in silent.reasons[0]
        assert len(list(tmp_path.iterdir())) == 1


def test_added_up_gauges_exist() -> None:
    app = app_with()
    app.asgi()
    assert app.metrics is not None
    gauges = {family.name for family in app.metrics.collector.collect() if family.type == "gauge"}
    assert gauges >= SUMMED | MINIMUM


class TestADirectoryThatCannotBeWritten:
    async def test_for_a_while_is_logged_once_and_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        directory, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await eventually(lambda: tellings(directory))
            directory.rename(elsewhere)
            await eventually(lambda: cached_shared_directory(directory).failing)
            assert (await get(app.web_url, "livez")).code == 200
            assert "evkafka_consumer_connected" in (await get(app.web_url, "metrics")).text
            elsewhere.rename(directory)
            await eventually(lambda: not cached_shared_directory(directory).failing)
        said = [line for line in caplog.messages if str(directory) in line]
        assert len(said) == 1
        assert said[0].startswith("cannot write ")

    async def test_at_the_end_does_not_fail_the_app(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = tmp_path / "shared"
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
        async with InMemoryKafka() as kafka, kafka.running(app_with()):
            directory.rename(tmp_path / "elsewhere")

    def test_that_was_removed_is_created_again(self, tmp_path: Path) -> None:
        shared = cached_shared_directory(tmp_path / "gone")
        while not shared.write_file("file", b"content"):
            pass
        assert (tmp_path / "gone" / "file").read_bytes() == b"content"

    def test_leaves_the_last_whole_file_on_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shared = cached_shared_directory(tmp_path)
        assert shared.write_file("file", b"whole")
        with monkeypatch.context() as disk:
            disk.setattr(Path, "write_bytes", full)
            assert not shared.write_file("file", b"later")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_bytes() == b"whole"

    def test_makes_no_process_look_silent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        peers, silent = ProcessHealth(tmp_path, dict), tmp_path / f"evkafka-health-{os.getppid()}-00.json"
        silent.write_text(json.dumps({"at_s": 0, "live": []}))
        [check] = peers.check_others("live")
        assert "has not reported for" in check.reasons[0]
        with monkeypatch.context() as disk:
            disk.setattr(Path, "write_bytes", full)
            cached_shared_directory(tmp_path).write_file("file", b"")
        [check] = peers.check_others("live")
        assert check.reasons == ()
        assert "is not writable" in check.notes[0]
        cached_shared_directory(tmp_path).write_file("file", b"")  # the other tests need a moment too
        [check] = peers.check_others("live")
        assert check.reasons == ()

    async def test_does_not_matter_to_a_process_without_a_web_server(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "file"))
        app = app_with()
        app.web = False
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert "that directory cannot be created" in caplog.text

    async def test_with_an_unreadable_file_leaves_the_own_figures(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        (tmp_path / "counter_1.db").touch()
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert "evkafka_consumer_connected" in (await get(app.web_url, "metrics")).text


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_prometheus_client_reads_a_file_of_figures(tmp_path: Path) -> None:
    values = [("k" * length, float(length)) for length in range(1, 40)] + [("ä€", 0.5)]
    (tmp_path / "counter_1.db").write_bytes(encode_file(values))
    read = MmapedDict.read_all_values_from_file(str(tmp_path / "counter_1.db"))  # type: ignore[no-untyped-call]
    assert [(key.rstrip(" "), value) for key, value, _, _ in read] == values
