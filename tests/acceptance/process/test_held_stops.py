"""Whatever holds it up, a stop has a deadline, past which the process ends. On a real Kafka."""

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

PROGRAM = ROOT / "tests" / "support" / "held_app.py"
SIGTERM = 128 + signal.SIGTERM


class Held:
    """A process of tests/support/held_app.py."""

    def __init__(self, log: Path, how: str, config: dict[str, object], *args: str) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), how, json.dumps(config), *args], stdout=output, stderr=output
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def says(self, word: str) -> None:
        await eventually(lambda: word in self.log, what=word)


Start = Callable[..., Held]


@pytest.fixture
def start(tmp_path: Path, kafka_broker: KafkaBroker) -> Iterator[Start]:
    held: list[Held] = []

    def start(how: str, topic: str, *args: str, **config: object) -> Held:
        whole = {
            "topics": [topic],
            "group_id": f"g-{topic}",
            "bootstrap_servers": kafka_broker.bootstrap_servers,
            "auto_offset_reset": "earliest",
            "concurrency": 2,
            "drain_timeout_ms": 100,
            **config,
        }
        held.append(Held(tmp_path / "log", how, whole, *args))
        return held[-1]

    yield start
    for one in held:
        one.process.kill()
        one.process.wait(60)


class TestOneSigtermEnds:
    @pytest.mark.parametrize("how", ["to_thread", "loop", "c"])
    async def test_a_process_that_an_endpoint_holds(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start, how: str
    ) -> None:
        name = await topic()
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Hold")
        held = start(how, name)
        await held.says("holding")
        held.process.terminate()
        assert held.process.wait(60) == SIGTERM
        assert "held by" in held.log
        assert ("thread asyncio_0" if how == "to_thread" else f"on_hold at {name}[0]@0") in held.log

    @pytest.mark.parametrize(
        ("how", "named"),
        [
            ("lifespan", "the exit of the lifespan has not ended"),
            ("lifespan-deaf", "never_ends"),
            ("pool", "thread asyncio_0"),
            ("task", "never_ends"),
        ],
    )
    async def test_a_process_that_is_held_at_its_end(
        self, topic: MakeTopic, start: Start, how: str, named: str
    ) -> None:
        held = start(how, await topic())
        await held.says("started")
        held.process.terminate()
        assert held.process.wait(60) == SIGTERM
        assert named in held.log

    async def test_a_second_signal_ends_it_at_once_also_while_its_loop_is_being_closed(
        self, topic: MakeTopic, start: Start
    ) -> None:
        held = start("pool", await topic(), drain_timeout_ms=600_000)
        await held.says("was assigned")
        held.process.terminate()
        await held.says("has stopped")  # from here on only a thread of the loop's pool holds it
        held.process.terminate()
        assert held.process.wait(60) == SIGTERM
        assert "a second signal" in held.log

    async def test_a_process_in_which_nothing_hangs_with_0(self, topic: MakeTopic, start: Start) -> None:
        held = start("not", await topic())
        await held.says("started")
        held.process.terminate()
        assert held.process.wait(60) == 0
        assert "run() has returned" in held.log


class TestAThreadThatHangs:
    async def test_does_not_keep_a_failed_app_from_ending_with_1(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        name = await topic(partitions=2)
        policy = {"max_attempts": 1, "then": "stop"}
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Plain", partition=0)
        held = start("plain", name, on_error=policy)
        await held.says("holding")
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Poison", partition=1)
        assert held.process.wait(60) == 1
        assert "thread evkafka-consumer-1_" in held.log
        assert "called from on_plain" in held.log


class TestALoopThatIsHeldWhileItDrains:
    async def test_does_not_keep_a_failed_app_from_ending_with_1(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        name = await topic(partitions=2)
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Hold", partition=0)
        held = start("drain", name, drain_timeout_ms=3000, on_error={"max_attempts": 1, "then": "stop"})
        await held.says("holding")
        await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Poison", partition=1)
        assert held.process.wait(60) == 1
        assert "the process ends by force with exit code 1" in held.log


class TestInSomebodyElsesProcess:
    async def test_nothing_is_ended_by_force_without_being_asked(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        held = start("lifespan-deaf", await topic(), "serve")
        await held.says("started")
        held.process.terminate()
        await held.says("this process is not EVKafka's to end")
        assert held.process.poll() is None

    async def test_it_is_when_asked(self, topic: MakeTopic, start: Start) -> None:
        held = start("lifespan-deaf", await topic(), "serve-force")
        await held.says("started")
        held.process.terminate()
        assert held.process.wait(60) == SIGTERM
        assert "the process ends by force with exit code 143" in held.log

    async def test_the_exit_of_a_lifespan_that_hangs_is_cancelled_and_serve_raises(
        self, topic: MakeTopic, start: Start
    ) -> None:
        held = start("lifespan", await topic(), "serve")
        await held.says("started")
        held.process.terminate()
        assert held.process.wait(60) == 1
        assert "the app has ended: ForcedExit" in held.log


class TestAForkedChild:
    async def test_can_be_terminated_and_its_parent_goes_on(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, start: Start
    ) -> None:
        name = await topic()
        held = start("fork", name)
        for number in (1, 2):
            await send_work(kafka_broker.bootstrap_servers, name, [{}], event_type="Plain")
            await eventually(lambda: held.log.count("children ended with 0 and -15") == number)  # noqa: B023
        held.process.terminate()
        assert held.process.wait(60) == 0
        assert await committed(kafka_broker.bootstrap_servers, f"g-{name}", name) == {0: 2}
