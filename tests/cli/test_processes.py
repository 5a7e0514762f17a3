"""`evkafka run` with options, with workers, with reload, and `evkafka dev`, as processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from evkafka.broker import KafkaBroker
from tests.cli.support import Start, environment, evkafka, stderr_of, write_app
from tests.support.kafka_topics import MakeTopic
from tests.support.ports import free_port
from tests.support.waiting import eventually_sync

CAUGHT = "was assigned"
SERVED = "AsyncAPI documentation, health and metrics of this app"

UNTIL_RELEASED = """
import asyncio
import contextlib
from pathlib import Path

@contextlib.asynccontextmanager
async def lifespan():
    yield
    print("the old process is closing", flush=True)
    while not Path("released").exists():
        await asyncio.sleep(0.01)
"""
"""A lifespan whose end waits for a file."""


@pytest.fixture
async def orders(kafka_broker: KafkaBroker, topic: MakeTopic, tmp_path: Path) -> str:
    """A topic, and the app `shop:app` that reads it."""
    name = await topic(partitions=4)
    await topic(name=f"{name}.invoices")
    write_app(tmp_path, servers=kafka_broker.bootstrap_servers, topic=name)
    return name


def send(directory: Path, topic: str, id_: str) -> None:
    payload = json.dumps({"id": id_, "cents": 1})
    ended = evkafka(directory, "send", topic, payload, "--type", "OrderPlaced", "--key", id_, "--app", "shop:app")
    assert ended.returncode == 0, ended.stderr


def workers_of(printed: str) -> dict[int, int]:
    """Number -> process id, the last one of each."""
    return {int(number): int(pid) for number, pid in re.findall(r"worker (\d+) runs as process (\d+)", printed)}


class TestRun:
    def test_with_options_for_one_process(self, orders: str, tmp_path: Path, running: Start) -> None:
        (tmp_path / "local.env").write_text("FAIL=b\nEVKAFKA_LOG_FORMAT=json\n")
        app = running(
            "run", "shop:app", "--only", "orders", "--loop", "uvloop", "--env-file", "local.env", "--web", PORT="0"
        )
        app.until(CAUGHT)
        send(tmp_path, orders, "a")
        app.until("order a by")
        send(tmp_path, orders, "b")
        app.until("no b today")
        app.until("http://127.0.0.1:")
        url = re.search(r"http://127\.0\.0\.1:\d+/", app.printed)
        assert url is not None
        with urllib.request.urlopen(f"{url[0]}livez") as answer:
            assert answer.status == 200
        assert "as audit" not in app.printed
        assert app.stop() == 0

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--only", "order"], "--only order: this app has no such consumer: did you mean 'orders'?"),
            (["--exclude", "orders", "--exclude", "audit"], "leave no consumer"),
            (["--reload", "--workers", "2"], "--reload and --workers cannot be combined"),
            (["--env-file", "nothing.env"], "nothing.env: the file cannot be read"),
        ],
    )
    def test_options_that_cannot_work_are_one_sentence(
        self, tmp_path: Path, arguments: list[str], sentence: str
    ) -> None:
        write_app(tmp_path, servers="127.0.0.1:1", topic="orders")
        assert sentence in stderr_of(evkafka(tmp_path, "run", "shop:app", *arguments), 2)


IN_C = """
import ctypes
print("importing", flush=True)
libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(128)
libc.pthread_mutex_init(lock, None)
libc.pthread_mutex_lock(lock)
libc.pthread_mutex_lock(lock)
"""

BY_A_THREAD = """
import threading, time
threading.Thread(target=threading.Event().wait).start()
print("importing", flush=True)
time.sleep(10_000)
"""

BY_ANOTHER_ERROR = """
import time
print("importing", flush=True)
try:
    time.sleep(10_000)
except BaseException as error:
    raise ImportError("as code written in C does") from error
"""


class TestSignalDuringTheStart:
    @pytest.mark.parametrize("how", [[], ["--workers", "2"], ["--reload"]])
    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    def test_it_ends_with_0(self, tmp_path: Path, running: Start, how: list[str], signum: signal.Signals) -> None:
        (tmp_path / "shop.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(10_000)\n")
        app = running("run", "shop:app", *how)
        app.until("importing")
        assert app.stop(signum) == 0

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("blocked", [IN_C, BY_A_THREAD, BY_ANOTHER_ERROR])
    def test_it_ends_with_0_whatever_blocks_it(
        self, tmp_path: Path, running: Start, blocked: str, signum: signal.Signals
    ) -> None:
        (tmp_path / "shop.py").write_text(blocked)
        app = running("run", "shop:app")
        app.until("importing")
        assert app.stop(signum) == 0

    def test_a_child_that_is_forked_meanwhile_is_terminated_alone(self, tmp_path: Path, running: Start) -> None:
        (tmp_path / "shop.py").write_text(
            "import multiprocessing, time\n"
            "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(10_000,))\n"
            "child.start()\nchild.terminate()\nchild.join()\n"
            "print(f'child {child.exitcode}', flush=True)\ntime.sleep(10_000)\n"
        )
        app = running("run", "shop:app")
        app.until("child -15")
        assert app.stop() == 0


class TestWithoutStandardStreams:
    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    def test_it_ends_with_0(self, orders: str, tmp_path: Path, loop: str) -> None:
        """libuv aborts a process in which one of its own descriptors is below 3."""
        (tmp_path / "ready.py").write_text(
            "import shop, pathlib\n"
            "from evkafka.telemetry import PartitionsAssigned\n"
            "app = shop.app\n"
            "app.telemetry.listen(PartitionsAssigned, lambda event: pathlib.Path('ready').touch())\n"
        )
        command = [sys.executable, "-m", "evkafka.cli", "run", "ready:app", "--loop", loop]
        process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command],
            cwd=tmp_path,
            env=environment(),
        )
        try:
            eventually_sync((tmp_path / "ready").exists, what="an assignment")
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait(60)


class TestWorkers:
    def test_a_killed_worker_is_restarted_and_a_signal_stops_all(
        self, orders: str, tmp_path: Path, running: Start
    ) -> None:
        group = running("run", "shop:app", "--workers", "2", "--only", "orders", "--web", "--port", "0")
        group.until(CAUGHT, times=2)
        pids = workers_of(group.printed)
        os.kill(pids[2], signal.SIGKILL)
        group.until("worker 2 exited with code 137; restarting it")
        group.until("worker 2 runs as process", times=2)
        send(tmp_path, orders, "a")
        group.until("order a by")
        group.until(SERVED)
        assert group.printed.count(SERVED) == 1
        now = workers_of(group.printed)
        assert now[1] == pids[1]
        assert group.stop(signal.SIGINT) == 0
        assert not any(psutil.pid_exists(pid) for pid in now.values())

    def test_a_frozen_worker_is_killed_after_the_second_signal(
        self, orders: str, tmp_path: Path, running: Start
    ) -> None:
        group = running("run", "shop:app", "--workers", "2", "--only", "orders")
        group.until(CAUGHT, times=2)
        os.kill(workers_of(group.printed)[2], signal.SIGSTOP)
        group.process.terminate()
        group.until("stopping 2 processes")
        # The killed worker's code, or the other one's: the second signal ends it, unless it has stopped before.
        assert group.stop() in (128 + signal.SIGTERM, 128 + signal.SIGKILL)
        assert "worker 2 did not exit within 3 s after its signal: killing it" in group.printed

    @pytest.mark.long
    def test_a_blocked_worker_ends_when_its_supervisor_is_killed(
        self, orders: str, tmp_path: Path, running: Start
    ) -> None:
        source = tmp_path / "shop.py"
        blocked = source.read_text().replace(
            "os._exit(7)", "print('held', flush=True); __import__('time').sleep(10_000)"
        )
        source.write_text(blocked.replace('"session_timeout_ms"', '"drain_timeout_ms": 100, "session_timeout_ms"'))
        group = running("run", "shop:app", "--workers", "2", "--only", "orders")
        group.until(CAUGHT, times=2)
        send(tmp_path, orders, "exit")
        group.until("held")
        group.process.kill()
        pids = workers_of(group.printed).values()
        eventually_sync(lambda: not any(psutil.pid_exists(pid) for pid in pids), what="the workers' end")
        assert "forcing the process to exit with code 143" in group.printed

    def test_a_worker_that_cannot_start_is_not_restarted(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text("import nothing_of_that_name\n")
        ended = evkafka(tmp_path, "run", "shop:app", "--workers", "2")
        assert "No module named 'nothing_of_that_name'" in stderr_of(ended, 2)
        assert "could not start: stopping all workers" in ended.stderr

    @pytest.mark.long
    def test_workers_stop_when_their_supervisor_is_killed(self, orders: str, tmp_path: Path, running: Start) -> None:
        group = running("run", "shop:app", "--workers", "2")
        group.until(CAUGHT, times=4)
        group.process.kill()
        pids = workers_of(group.printed).values()
        eventually_sync(lambda: not any(psutil.pid_exists(pid) for pid in pids), what="the workers' end")
        assert group.printed.count("has stopped") == 4

    @pytest.mark.long
    def test_the_first_worker_serves_the_metrics_of_all(self, orders: str, tmp_path: Path, running: Start) -> None:
        group = running("run", "shop:app", "--workers", "2", "--only", "orders", "--web", "--port", "0")
        group.until(CAUGHT, times=2)
        for number in range(8):
            send(tmp_path, orders, f"n{number}")
        group.until("order n", times=8)
        assert len(set(re.findall(r"order n\d by (\d+)", group.printed))) == 2
        url = re.search(r"http://127\.0\.0\.1:\d+/", group.printed)
        assert url is not None

        def all_told() -> bool:
            with urllib.request.urlopen(f"{url[0]}metrics") as answer:
                text = answer.read().decode()
            return bool(re.search(r'evkafka_events_processed_total\{[^}]*status="ok"[^}]*\} 8\.0', text))

        eventually_sync(all_told, what="the sum of both")
        assert group.stop() == 0


class TestReload:
    def test_a_change_restarts_the_app_also_after_a_failed_start(
        self, orders: str, tmp_path: Path, running: Start
    ) -> None:
        app = running("run", "shop:app", "--reload", "--only", "orders")
        app.until(CAUGHT)
        source = tmp_path / "shop.py"
        good = source.read_text()
        source.write_text(good.replace("order {order.id} by", "changed {order.id} by"))
        app.until("shop.py changed: reloading")
        app.until(CAUGHT, times=2)
        send(tmp_path, orders, "a")
        app.until("changed a by")
        source.write_text(good + "\nthis is no Python\n")
        app.until("waiting for a file to change")
        assert "Traceback" not in app.printed
        source.write_text(good)
        app.until(CAUGHT, times=3)
        assert app.stop(signal.SIGINT) == 0

    def test_a_signal_during_a_reload_is_the_first_one(self, orders: str, tmp_path: Path, running: Start) -> None:
        source = tmp_path / "shop.py"
        text = source.read_text().replace("def make()", f"{UNTIL_RELEASED}\n\ndef make()")
        source.write_text(text.replace("EVKafkaApp(title", "EVKafkaApp(lifespan=lifespan, title"))
        app = running("run", "shop:app", "--reload", "--only", "orders")
        app.until(CAUGHT)
        source.write_text(source.read_text() + "\n# changed\n")
        app.until("the old process is closing")
        app.process.send_signal(signal.SIGINT)
        app.until("signal SIGINT: stopping")
        (tmp_path / "released").touch()
        assert app.process.wait(60) == 0
        assert "second signal" not in app.printed
        assert app.printed.count(CAUGHT) == 1


class TestDev:
    def test_on_a_given_broker_topics_are_created_and_the_hint_works(
        self, kafka_broker: KafkaBroker, tmp_path: Path, running: Start
    ) -> None:
        topic = f"dev-{time.monotonic_ns()}"
        write_app(tmp_path, servers="nowhere:9092", topic=topic)
        app = running("dev", "shop:app", "--bootstrap-servers", kafka_broker.bootstrap_servers, "--partitions", "2")
        app.until(f"created topic {topic}")
        app.until(CAUGHT, times=2)
        app.until("Send an event")
        hint = re.search(r"evkafka send (\S+) '(.+)' --type OrderPlaced --bootstrap-servers (\S+)", app.printed)
        assert hint is not None
        sent = evkafka(tmp_path, "send", hint[1], hint[2], "--type", "OrderPlaced", "--bootstrap-servers", hint[3])
        assert sent.returncode == 0, sent.stderr
        app.until("as orders")
        app.until("as audit")
        assert app.stop(signal.SIGINT) == 0

    def test_over_reloads_the_page_keeps_its_address_and_its_token(
        self, kafka_broker: KafkaBroker, tmp_path: Path, running: Start
    ) -> None:
        wanted = free_port()
        write_app(tmp_path, servers="nowhere:9092", topic=f"dev-{time.monotonic_ns()}", web=True)
        source = tmp_path / "shop.py"
        good = source.read_text().replace("web_port=0", f"web_port={wanted}")
        source.write_text(good)
        with socket.create_server(("127.0.0.1", wanted)):
            app = running("dev", "shop:app", "--bootstrap-servers", kafka_broker.bootstrap_servers)
            app.until(CAUGHT, times=2)
        source.write_text(good + "\nthis is no Python\n")
        app.until("waiting for a file to change")
        source.write_text(good)
        app.until(CAUGHT, times=4)
        for line in (r"Dashboard +http://127.0.0.1:\d+/ui", r"Token +\S+"):
            first, second = re.findall(line, app.printed)
            assert first == second
        assert f":{wanted}/" not in app.printed
        assert app.stop(signal.SIGINT) == 0

    @pytest.mark.long
    def test_with_a_broker_of_its_own(self, tmp_path: Path, running: Start) -> None:
        write_app(tmp_path, servers="localhost:9092", topic="orders", web=True)
        app = running("dev", "shop:app")
        app.until(CAUGHT, times=2)
        page = re.search(r"API docs +(http://\S+/)", app.printed)
        assert page is not None
        with urllib.request.urlopen(f"{page[1]}asyncapi.json") as answer:
            assert json.load(answer)["info"]["title"] == "Shop"
        hint = re.search(r"evkafka (send \S+ .+ --app shop:app)", app.printed)
        assert hint is not None
        sent = evkafka(tmp_path, *shlex.split(hint[1]))
        assert sent.returncode == 0, sent.stderr
        app.until("as orders")
        app.until("as audit")
        assert app.stop(signal.SIGINT) == 0
