"""The command line as processes, for its tests."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from evkafka.cli.exit_codes import call_for_exit_code
from evkafka.cli.typer_app import create_cli_click_command
from tests.support.waiting import eventually_sync

ROOT = Path(__file__).parents[2]

APP = """
import os
from typing import Any
from pydantic import BaseModel
from evkafka import EVKafkaApp, Handler, Request, Sender

class Order(BaseModel):
    id: str
    cents: int

handler, sender = Handler(), Sender()

@sender.event("Invoice", topic="{topic}.invoices", key_field="id")
async def send_invoice(order: Order) -> None: ...

@handler.event("OrderPlaced")
async def on_order(order: Order, request: Request) -> None:
    if order.id == os.environ.get("FAIL"):
        raise ValueError(f"no {{order.id}} today")
    if order.id == "exit":
        os._exit(7)
    print(f"order {{order.id}} by {{os.getpid()}} as {{request.context.consumer.name}}", flush=True)

def make() -> EVKafkaApp:
    app = EVKafkaApp(title="Shop", web={web}, web_port=0)
    config = {{
        "topics": ["{topic}"], "bootstrap_servers": "{servers}", "group_id": "{topic}.group",
        "auto_offset_reset": "earliest", "session_timeout_ms": 6000, "heartbeat_interval_ms": 500,
        "on_error": {{"max_attempts": 1, "then": "skip"}},
    }}
    app.add_consumer(config, handler, "orders")
    app.add_consumer({{**config, "group_id": "{topic}.audit"}}, handler, "audit")
    app.add_producer({{"bootstrap_servers": "{servers}"}}, sender, "invoices")
    return app

app = make()
"""


def write_app(directory: Path, *, servers: str, topic: str, web: bool = False) -> None:
    (directory / "shop.py").write_text(APP.format(servers=servers, topic=topic, web=web), encoding="utf-8")


def environment(**more: str) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("EVKAFKA_", "PROMETHEUS_")) and key != "PORT"
    }
    return kept | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"} | more


def evkafka(
    directory: Path, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout_s: int = 240
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, in a process of its own, which has imported EVKafka already."""
    with tempfile.TemporaryDirectory() as scratch:
        streams = [Path(scratch) / name for name in ("stdin", "stdout", "stderr")]
        for path, text in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(text, encoding="utf-8")
        request = {
            "arguments": arguments,
            "directory": str(directory),
            "environment": environment(**(env or {})),
            "streams": [str(path) for path in streams],
            "timeout_s": timeout_s,
        }
        code = _prepared().run(request)
        out, err = (path.read_text(encoding="utf-8") for path in streams[1:])
        return subprocess.CompletedProcess(arguments, code, out, err)


class _Prepared:
    """`prepared.py` as a process."""

    def __init__(self) -> None:
        self._turns = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("prepared.py")],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, request: Mapping[str, object]) -> int:
        """The exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turns:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


@cache
def _prepared() -> _Prepared:
    started = _Prepared()
    atexit.register(started.end)
    return started


def as_json(ended: subprocess.CompletedProcess[str]) -> Any:
    """What it printed, as JSON."""
    try:
        return json.loads(ended.stdout)
    except ValueError as error:
        raise AssertionError(f"no JSON: {ended.stdout!r}, {ended.stderr!r}") from error


def stderr_of(ended: subprocess.CompletedProcess[str], code: int) -> str:
    """What it printed to stderr, after checking that it ended with this code and without a traceback."""
    assert ended.returncode == code, (ended.returncode, ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr
    return ended.stderr


class Running:
    """`evkafka ...` that runs until it is stopped; its output goes to a file."""

    def __init__(self, directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._log = directory / f"{id(self):x}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "evkafka.cli", *arguments],
                cwd=directory,
                env=environment(PYTHONUNBUFFERED="1", **(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def until(self, text: str, *, times: int = 1, timeout_s: float = 60) -> None:
        """Wait until it has printed this so often."""

        def there() -> bool:
            if self.printed.count(text) >= times:
                return True
            assert self.process.poll() is None, f"it has ended with {self.process.returncode}:\n{self.printed}"
            return False

        try:
            eventually_sync(there, timeout_s, what=f"{text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it printed:\n{self.printed}") from None

    def stop(self, signum: signal.Signals = signal.SIGTERM, timeout_s: float = 60) -> int:
        self.process.send_signal(signum)
        return self.process.wait(timeout_s)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


Start = Callable[..., Running]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Start]:
    """Starts `evkafka ARGUMENTS` in the temporary directory; what still runs at the end is killed."""
    started: list[Running] = []

    def run(*arguments: str, **env: str) -> Running:
        started.append(Running(tmp_path, *arguments, env=env))
        return started[-1]

    yield run
    for one in started:
        one.end()


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def printed(self) -> str:
        return self.out + self.err


Call = Callable[..., Ended]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """`evkafka ARGUMENTS`, in this process."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERM", "dumb")

    def done(*arguments: str) -> Ended:
        code = call_for_exit_code(lambda: create_cli_click_command()(arguments, prog_name="evkafka"))
        printed = capfd.readouterr()
        return Ended(code, *printed)

    return done


@pytest.fixture
def call_here(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """`call` in the temporary directory. What it imports from there is forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield call
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(place is not None and Path(place).is_relative_to(tmp_path) for place in places):
            del sys.modules[name]
