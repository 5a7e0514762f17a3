"""Builds what tests need and pip does not install, before the first test and once for all processes of the run.

Otherwise the build would count against the time limit of the first test, which would fail on a new machine.
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
    """Something that some tests need.

    Attributes:
        message: the line that is printed during the build.
        used_by: the fixtures and marks of the tests that need it.
        is_ready: whether it exists.
        build: builds it. If it raises, each test that needs it tries again and fails with the reason.
    """

    message: str
    used_by: frozenset[str]
    is_ready: Callable[[], bool]
    build: Callable[[], object]

    def is_used_by(self, item: pytest.Item) -> bool:
        marks = [mark.name for mark in item.iter_markers()]
        return not self.used_by.isdisjoint([*getattr(item, "fixturenames", ()), *marks])


def build(items: Collection[pytest.Item], report: Callable[[str], None], needs: Collection[Need] | None = None) -> None:
    """Build what these tests need; call `report` before and after each build."""
    for need in NEEDS if needs is None else needs:
        if any(map(need.is_used_by, items)) and not need.is_ready():
            with _exclusively():
                if not need.is_ready():  # unless another process of this run has built it
                    _build_one(need, report)


def _build_one(need: Need, report: Callable[[str], None]) -> None:
    report(f"Once on this machine: {need.message} ...")
    start_s = time.monotonic()
    try:
        need.build()
    except Exception as error:
        report(f"... failed after {time.monotonic() - start_s:.0f} s: {error}")
    else:
        report(f"... done in {time.monotonic() - start_s:.0f} s")


@contextmanager
def _exclusively() -> Iterator[None]:
    """Allow one process of this user at a time. The lock is released when its process ends."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evkafka-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kafka_is_ready() -> bool:
    home = cache_dir() / f"kafka-{KAFKA_VERSION}"
    jars = [home / jar.name for jar in locked_jars()]
    return all(jar.exists() for jar in jars) and bool(ClassArchive(find_java(None), jars, FAST_START).options())


def _start_kafka_twice() -> None:
    """The first start lists the classes that Kafka loads; the second one creates the archive of them."""
    for _ in range(2):
        with KafkaBroker():
            pass


NEEDS = (
    Need(
        "downloading Apache Kafka (45 MB), and starting it twice so that it starts faster",
        frozenset({"kafka", "kafka_broker"}),
        _kafka_is_ready,
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
