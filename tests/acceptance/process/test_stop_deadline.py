"""A stop has a deadline: after it the process ends, whatever hangs. On a real Kafka."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.processes import ROOT, committed, send_work
from tests.support.waiting import eventually

PROGRAM = ROOT / "tests" / "support" / "blocking_app.py"
SIGTERM = 128 + signal.SIGTERM


class HangingApp:
    """A process of tests/support/blocking_app.py."""

    def __init__(self, log: Path, mode: str, config: dict[str, object], *args: str) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), mode, json.dumps(config), *args], stdout=output, stderr=output
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def logs(self, word: str) -> None:
        await eventually(lambda: word in self.log, what=word)


Start = Callable[..., HangingApp]


@pytest.fixture
def start(tmp_path: Path, kafka_broker: KafkaBroker) -> Iterator[Start]:
    started: list[HangingApp] = []

    def start(mode: str, topic: str, *args: str, **config: object) -> HangingApp:
        settings = {
            "topics": [topic],
            "group_id": f"g-{topic}",
            "bootstrap_servers": kafka_broker.bootstrap_servers,
            "auto_offset_reset": "earliest",
            "concurrency": 2,
            "drain_timeout_ms": 100,
            **config,
        }
        started.append(HangingApp(tmp_path / "log", mode, settings, *args))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(60)


class TestOneSigterm:
    @pytest.mark.parametrize("mode", ["to_thread", "loop", "c"])
    async def test_ends_a_process_whose_endpoint_hangs(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start, mode: str
    ) -> None:
        name = await topic()
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Hold")
        app = start(mode, name)
        await app.logs("holding")
        app.process.terminate()
        assert app.process.wait(60) == SIGTERM
        assert "blocked by" in app.log
        assert ("thread asyncio_0" if mode == "to_thread" else f"on_hold at {name}[0]@0") in app.log

    @pytest.mark.parametrize(
        ("mode", "named"),
        [
            ("lifespan", "the exit of the lifespan had not finished"),
            ("lifespan-deaf", "never_ends"),
            ("pool", "thread asyncio_0"),
            ("task", "never_ends"),
        ],
    )
    async def test_ends_a_process_that_hangs_while_it_stops(
        self, topic: MakeTopic, start: Start, mode: str, named: str
    ) -> None:
        app = start(mode, await topic())
        await app.logs("started")
        app.process.terminate()
        assert app.process.wait(60) == SIGTERM
        assert named in app.log

    async def test_and_a_second_signal_end_it_at_once_even_while_its_loop_closes(
        self, topic: MakeTopic, start: Start
    ) -> None:
        app = start("pool", await topic(), drain_timeout_ms=600_000)
        await app.logs("was assigned")
        app.process.terminate()
        await app.logs("has stopped")  # now only a thread of the loop's pool keeps the process alive
        app.process.terminate()
        assert app.process.wait(60) == SIGTERM
        assert "second signal" in app.log

    async def test_ends_a_process_in_which_nothing_hangs_with_0(self, topic: MakeTopic, start: Start) -> None:
        app = start("not", await topic())
        await app.logs("started")
        app.process.terminate()
        assert app.process.wait(60) == 0
        assert "run() has returned" in app.log


class TestAThreadThatHangs:
    async def test_does_not_prevent_a_failed_app_from_exiting_with_1(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        name = await topic(partitions=2)
        policy = {"max_attempts": 1, "then": "stop"}
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Plain", partition=0)
        app = start("plain", name, on_error=policy)
        await app.logs("holding")
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Poison", partition=1)
        assert app.process.wait(60) == 1
        assert "thread evkafka-consumer-1_" in app.log
        assert "called from on_plain" in app.log


@pytest.mark.long
class TestALoopThatIsBlockedWhileItDrains:
    async def test_does_not_prevent_a_failed_app_from_exiting_with_1(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        name = await topic(partitions=2)
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Hold", partition=0)
        app = start("drain", name, drain_timeout_ms=3000, on_error={"max_attempts": 1, "then": "stop"})
        await app.logs("holding")
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Poison", partition=1)
        assert app.process.wait(60) == 1
        assert "forcing the process to exit with code 1" in app.log


class TestAnEmbeddedApp:
    async def test_does_not_end_the_process_without_force_exit(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        app = start("lifespan-deaf", await topic(), "serve")
        await app.logs("started")
        app.process.terminate()
        await app.logs("EVKafka does not own this process and leaves it running")
        assert app.process.poll() is None

    async def test_ends_the_process_with_force_exit(self, topic: MakeTopic, start: Start) -> None:
        app = start("lifespan-deaf", await topic(), "serve-force")
        await app.logs("started")
        app.process.terminate()
        assert app.process.wait(60) == SIGTERM
        assert "forcing the process to exit with code 143" in app.log

    async def test_cancels_a_lifespan_exit_that_hangs_and_raises_from_serve(
        self, topic: MakeTopic, start: Start
    ) -> None:
        app = start("lifespan", await topic(), "serve")
        await app.logs("started")
        app.process.terminate()
        assert app.process.wait(60) == 1
        assert "the app has ended: ForcedExit" in app.log


class TestAForkedChild:
    async def test_can_be_terminated_while_its_parent_continues(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        name = await topic()
        app = start("fork", name)
        for number in (1, 2):
            await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Plain")
            await eventually(lambda: app.log.count("children ended with 0 and -15") == number)  # noqa: B023
        app.process.terminate()
        assert app.process.wait(60) == 0
        assert await committed(kafka_broker.bootstrap_servers, f"g-{name}", name) == {0: 2}
