"""Programs that tests need and pip does not install: built before the first test, once for all processes of a run.

On a new machine, a build within the time limit of the first test would make that test fail.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from evkafka.broker.cds_archive import ClassArchive
from evkafka.broker.jars import KAFKA_VERSION, read_lock_file
from evkafka.broker.java import JVM_OPTIONS, find_java
from evkafka.broker.maven import cache_dir
from tests.support import chromium, fake_kafka


@dataclass(frozen=True)
class Prerequisite:
    """A program that some tests need.

    Attributes:
        action: what `build` does, for the progress line.
        needed_by: the fixtures and marks of the tests that need it.
        is_ready: True if nothing is left to do.
        build: builds it. If it raises, each test that needs the program tries again, and fails with the reason.
    """

    action: str
    needed_by: frozenset[str]
    is_ready: Callable[[], bool]
    build: Callable[[], object]

    def is_needed_by(self, item: pytest.Item) -> bool:
        marks = [mark.name for mark in item.iter_markers()]
        return not self.needed_by.isdisjoint([*getattr(item, "fixturenames", ()), *marks])


def build(
    items: Collection[pytest.Item], report: Callable[[str], None], chosen: Collection[Prerequisite] | None = None
) -> None:
    """Build the programs that these tests need, in parallel; `report` gets a line before and after each build."""
    needed = [one for one in (PREREQUISITES if chosen is None else chosen) if any(map(one.is_needed_by, items))]
    reporting = threading.Lock()

    def say(line: str) -> None:
        with reporting:
            report(line)

    with ThreadPoolExecutor(max_workers=len(PREREQUISITES)) as threads:
        list(threads.map(lambda one: _build_once(one, say), needed))


def _build_once(one: Prerequisite, report: Callable[[str], None]) -> None:
    if not one.is_ready():
        with _locked(one):
            if not one.is_ready():  # else another process of this run has built it meanwhile
                _build(one, report)


def _build(one: Prerequisite, report: Callable[[str], None]) -> None:
    report(f"Once on this machine: {one.action} ...")
    began_s = time.monotonic()
    try:
        one.build()
    except Exception as error:
        report(f"... {one.action}: failed after {time.monotonic() - began_s:.0f} s: {error}")
    else:
        report(f"... {one.action}: done in {time.monotonic() - began_s:.0f} s")


@contextmanager
def _locked(one: Prerequisite) -> Iterator[None]:
    """One process of this user at a time. The lock ends with its process, however that ends."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evkafka-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"building-{'-'.join(sorted(one.needed_by))}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kafka_is_ready() -> bool:
    home = cache_dir() / f"kafka-{KAFKA_VERSION}"
    jars = [home / jar.name for jar in read_lock_file()]
    return all(jar.exists() for jar in jars) and bool(ClassArchive(find_java(None), jars, JVM_OPTIONS).options())


def _start_kafka_twice() -> None:
    """The first start records the classes that Kafka uses; the second one creates an archive of them."""
    for _ in range(2):
        with KafkaBroker():
            pass


PREREQUISITES = (
    Prerequisite(
        "downloading Apache Kafka (45 MB), and starting it twice so that it starts faster",
        frozenset({"kafka", "kafka_broker"}),
        _kafka_is_ready,
        _start_kafka_twice,
    ),
    Prerequisite(
        "building the fault-injecting broker with Go",
        frozenset({"kfake", "fake_program"}),
        fake_kafka.is_ready,
        fake_kafka.build,
    ),
    Prerequisite("fetching a Chromium (60 MB)", frozenset({"browser"}), chromium.is_ready, chromium.find_browser),
)
