"""What tests need and pip does not install: built before the first test, once for all processes of the run.

A build that counts against the time limit of the first test that needs it fails that test on a fresh machine.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from evkafka.broker.broker import FAST_START
from evkafka.broker.cds_archive import ClassArchive
from evkafka.broker.jars import KAFKA_VERSION, cache_dir, locked_jars
from evkafka.broker.java import find_java
from tests.support import chromium, fake_kafka


@dataclass(frozen=True)
class Need:
    """One thing that some tests need.

    Attributes:
        what: what is done, as the line says that is shown meanwhile.
        of: the fixtures and marks of the tests that need it.
        is_here: True where nothing is left to do.
        make: does it. Where it raises, each test that needs the thing tries again, and fails with the reason.
    """

    what: str
    of: frozenset[str]
    is_here: Callable[[], bool]
    make: Callable[[], object]

    def is_of(self, item: pytest.Item) -> bool:
        marks = [mark.name for mark in item.iter_markers()]
        return not self.of.isdisjoint([*getattr(item, "fixturenames", ()), *marks])


def build(items: Collection[pytest.Item], say: Callable[[str], None], needs: Collection[Need] | None = None) -> None:
    """Make what these tests need; `say` is told before and after each thing that is made."""
    for need in NEEDS if needs is None else needs:
        if any(map(need.is_of, items)) and not need.is_here():
            with _alone():
                if not need.is_here():  # else another process of this run has made it meanwhile
                    _make(need, say)


def _make(need: Need, say: Callable[[str], None]) -> None:
    say(f"Once on this machine: {need.what} ...")
    began_s = time.monotonic()
    try:
        need.make()
    except Exception as error:
        say(f"... failed after {time.monotonic() - began_s:.0f} s: {error}")
    else:
        say(f"... done in {time.monotonic() - began_s:.0f} s")


@contextmanager
def _alone() -> Iterator[None]:
    """One process of this user at a time. The lock ends with the process that holds it, however it ends."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evkafka-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kafka_is_here() -> bool:
    home = cache_dir() / f"kafka-{KAFKA_VERSION}"
    jars = [home / jar.name for jar in locked_jars()]
    return all(jar.exists() for jar in jars) and bool(ClassArchive(find_java(None), jars, FAST_START).options())


def _start_kafka_twice() -> None:
    """The first start writes down which classes Kafka uses; the second one begins with an archive of them."""
    for _ in range(2):
        with KafkaBroker():
            pass


NEEDS = (
    Need(
        "downloading Apache Kafka (45 MB), and starting it twice so that it starts faster",
        frozenset({"kafka", "kafka_broker"}),
        _kafka_is_here,
        _start_kafka_twice,
    ),
    Need(
        "building the fault-injecting broker with Go",
        frozenset({"kfake", "fake_program"}),
        fake_kafka.is_here,
        fake_kafka.build,
    ),
    Need("fetching a Chromium (60 MB)", frozenset({"browser"}), chromium.is_here, chromium.find_browser),
)
