"""A fake Kafka cluster of three brokers that fails on demand (`kfake/main.go`), built once and run as a process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from evkafka.config.settings import ConnectionSettings

_SOURCE = Path(__file__).parent / "kfake"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evkafka-tests"

BUILD_TIMEOUT_S = 600.0


class NoGoError(Exception):
    """Go is not installed, so the fake cannot be built."""


class BuildError(Exception):
    """Go cannot build the fake; the message has the reason."""


def is_ready() -> bool:
    """True if nothing is left to build: the program is compiled, or Go is not installed."""
    return _program().exists() or shutil.which("go") is None


def build() -> Path:
    """The path of the program; it is compiled unless the same source has been compiled before.

    Raises:
        NoGoError: Go is not installed.
        BuildError: its modules cannot be downloaded, or it does not compile.
    """
    go = shutil.which("go")
    program = _program()
    if go is None:
        raise NoGoError("needs Go to build the fault-injecting broker")
    if not program.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(f".{os.getpid()}")
        try:
            subprocess.run(
                # Not optimized: with empty caches the compiler needs two thirds of the time.
                [go, "build", "-gcflags=all=-N -l", "-ldflags=-s -w", "-o", str(unfinished), "."],
                cwd=_SOURCE,
                check=True,
                capture_output=True,
                timeout=BUILD_TIMEOUT_S,
                env=os.environ | {"GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"},
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            output = (error.stderr or b"").decode(errors="replace").strip().splitlines()
            raise BuildError(f"the fault-injecting broker cannot be built: {output[-1:] or error}") from error
        unfinished.replace(program)
    return program


def _program() -> Path:
    """The path of the program for the present source."""
    source = b"".join((_SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    return _CACHE / f"kfake-{hashlib.sha256(source).hexdigest()[:16]}"


class FakeKafka:
    """The running fake. Its commands are those of `main.go`; API keys and error codes are Kafka's numbers."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.bootstrap_servers = ",".join(ready["brokers"])
        self._faults: list[int] = []
        self._control = f"http://{ready['control']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    @property
    def connection(self) -> ConnectionSettings:
        return ConnectionSettings(bootstrap_servers=tuple(self.bootstrap_servers.split(",")))

    async def create(self, topic: str, partitions: int = 1) -> None:
        await self._ask("create", topic=topic, partitions=partitions)

    async def fault(
        self,
        api_key: int,
        code: int,
        *,
        count: int = 1,
        group: str = "",
        topic: str = "",
        transactional_id: str = "",
        top_level: bool = False,
    ) -> Fault:
        """Answer the next `count` requests of this kind with this error; -1: until it is healed, or the test ends.

        Args:
            top_level: the error is that of the whole answer: then group and topic are not looked at.
        """
        number = await self._ask(
            "fault",
            key=api_key,
            code=code,
            count=count,
            group=group,
            topic=topic,
            txn=transactional_id,
            topLevel=top_level,
        )
        self._faults.append(number)
        return Fault(self, number)

    def heal_all(self) -> None:
        """End all faults: the next test must not meet them."""
        faults, self._faults = self._faults, []
        for number in faults:
            self._post("heal", {"id": number})

    async def never_answer(self, api_key: int, *, count: int = 1) -> None:
        await self._ask("never_answer", key=api_key, count=count)

    async def hang_up(self, api_key: int, *, count: int = 1) -> None:
        """Close the connection instead of answering."""
        await self._ask("hang_up", key=api_key, count=count)

    async def delay(self, api_key: int, *, delay_ms: int, count: int = 1) -> None:
        await self._ask("delay", key=api_key, delayMS=delay_ms, count=count)

    async def move_coordinator(self, group: str) -> None:
        await self._ask("coordinator", group=group)

    async def move_leader(self, topic: str, partition: int = 0) -> None:
        await self._ask("leader", topic=topic, partition=partition)

    async def truncate(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before this offset, as retention does."""
        await self._ask("truncate", topic=topic, partition=partition, offset=offset)

    async def group(self, group: str) -> dict[str, Any]:
        answer: dict[str, Any] = await self._ask("group", group=group)
        return answer

    async def disconnect(self) -> None:
        """Close every connection to every broker."""
        await self._ask("disconnect")

    async def _ask(self, command: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(self._post, command, arguments)

    def _post(self, command: str, arguments: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self._control}/{command}", json.dumps(arguments).encode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{command}: {error.read().decode().strip()}") from None


class Fault:
    """An injected fault."""

    def __init__(self, kafka: FakeKafka, number: int) -> None:
        self._kafka = kafka
        self._number = number

    async def hits(self) -> int:
        """How many requests it has affected."""
        hits: int = await self._kafka._ask("hits", id=self._number)
        return hits

    async def heal(self) -> None:
        await self._kafka._ask("heal", id=self._number)


@pytest.fixture(scope="session")
def fake_program() -> Any:
    """The fake's program. Tests are skipped only if Go is not installed: a failing build is a failure."""
    try:
        return build()
    except NoGoError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def fake_cluster(fake_program: Any) -> Iterator[FakeKafka]:
    """A fake cluster of three brokers, shared by the whole run."""
    with FakeKafka(fake_program) as kafka:
        yield kafka


@pytest.fixture
def fake(fake_cluster: FakeKafka) -> Iterator[FakeKafka]:
    """The fake cluster. Tests inject faults for one group or topic; they end with the test."""
    yield fake_cluster
    fake_cluster.heal_all()
