"""`make demo`, run as people run it: a process of its own, with a Kafka of its own."""

from __future__ import annotations

import csv
import gzip
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually_sync

ROOT = Path(__file__).parents[2]
ENDS_WITHIN_S = 80.0

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Demo:
    """The demo's process, with all that it prints."""

    def __init__(self, output: Path, *options: str) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.flights.demo", *options],
                cwd=ROOT,
                env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def prints(self, text: str) -> None:
        """Wait until it has printed this."""
        eventually_sync(lambda: text in self.printed or self._ended(), ENDS_WITHIN_S, what=repr(text))

    def ends(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(ENDS_WITHIN_S)

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.ends()

    def _ended(self) -> bool:
        assert self.process.poll() is None, f"the demo ended with {self.process.returncode}:\n{self.printed}"
        return False


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "demo.txt"


@pytest.fixture
def demo_that_stays(output: Path) -> Iterator[Demo]:
    demo = Demo(output, "--rate", "5000", "--keep-running")
    yield demo
    demo.process.kill()
    demo.process.wait(10)


class TestDemo:
    def test_its_summary_agrees_with_the_data(self, output: Path) -> None:
        demo = Demo(output, "--rate", "5000")

        assert demo.ends() == 0, demo.printed

        expected = _counted()
        flights = f"{expected.total():,}"
        summary = demo.printed.splitlines()[-2:]
        assert summary[0] == (
            f"{expected['departed']:,} departed in time, {expected['delayed']:,} delayed, "
            f"{expected['cancelled']:,} cancelled."
        )
        assert re.fullmatch(
            rf"{flights} flights sent, {flights} handled, {flights} committed, in \d+ s\.", summary[1]
        ), summary

    def test_ctrl_c_ends_it_without_a_traceback_and_without_leaving_kafka_behind(self, demo_that_stays: Demo) -> None:
        demo_that_stays.prints("Ctrl-C stops them.")
        # Kafka is a session of its own, where nothing but the demo ends it.
        address = re.search(r"ready at ([\d.]+):(\d+)", demo_that_stays.printed)
        assert address is not None

        assert demo_that_stays.interrupt() == 0

        assert "Traceback" not in demo_that_stays.printed
        assert demo_that_stays.printed.rstrip().endswith("Stopped.")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address[1], int(address[2])), timeout=5).close()


def _counted() -> Counter[str]:
    """The data's own answer, counted without the example's code."""
    counts: Counter[str] = Counter()
    with gzip.open(ROOT / "examples" / "data" / "flights.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dep_time"] == "NA":
                counts["cancelled"] += 1
            else:
                counts["delayed" if int(row["dep_delay"]) > 15 else "departed"] += 1
    return counts
