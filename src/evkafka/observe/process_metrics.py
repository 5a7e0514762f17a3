"""Metrics of several processes as one: each leaves its figures in the directory that prometheus-client's multiprocess
mode has for it (`PROMETHEUS_MULTIPROC_DIR`), and whoever is scraped adds up all that lies there.

Files and their format are prometheus-client's own, so that its collector reads ours along with what the process
registered itself. Unlike its own they are written anew each time: a partition's series end when it is given back.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import struct
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric, Sample
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from evkafka.observe.process_health import lives
from evkafka.observe.shared_directory import shared_directory

EVERY_S = 1.0
SHARE_OF_TIME = 50
"""One part in so many of a process's time goes into leaving its figures, at most."""

KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_livemin")
SUMMED = frozenset({"evkafka_events_in_flight", "evkafka_assigned_partitions", "evkafka_paused_partitions"})
LEAST = frozenset({"evkafka_consumer_connected"})
"""Of all other gauges the greatest counts: a partition has one owner, and the loop that is latest is the one to see."""

_own: set[str] = set()
"""What the figures of this process are filed under: one for each app in it."""


class ProcessMetrics:
    """One app's figures, in the directory.

    Args:
        collector: its `collect` is called on the app's loop only.
    """

    def __init__(self, collector: Any, directory: Path) -> None:
        self._collector = collector
        self._directory = directory
        self._shared = shared_directory(directory)
        self._pid, self._name = 0, ""
        self._keys: dict[tuple[str, ...], str] = {}  # a series -> what it is filed under: slow to make

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside, the figures are left every second. At the exit what is counted stays, and the gauges end."""
        leaving = asyncio.ensure_future(self._leave_for_ever())
        try:
            yield
        finally:
            leaving.cancel()
            await asyncio.wait({leaving})
            self.leave()
            self._end_gauges()

    async def _leave_for_ever(self) -> None:
        while True:
            began_s = time.monotonic()
            self.leave()
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(EVERY_S, took_s * SHARE_OF_TIME))

    def leave(self) -> None:
        """Leave the figures of this moment. On the app's loop. What cannot be written is not raised."""
        name = self._filed_as()
        for kind, values in self._figures().items():
            if not self._shared.write(f"{kind}_{name}.db", as_file(values)):
                return

    def everyone(self) -> CollectorRegistry:
        """What all processes have left, as a registry. In any thread.

        Raises:
            ValueError: the directory is gone.
        """
        forget_the_dead(self._directory)
        registry = CollectorRegistry(auto_describe=False)
        MultiProcessCollector(registry, path=str(self._directory))  # type: ignore[no-untyped-call]
        return registry

    # ------------------------------------------------------------------ files

    def _filed_as(self) -> str:
        """The name of this app in this process: it may have been made before the process was forked off."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._name = f"evkafka-{self._pid}-{secrets.token_hex(4)}"
            _own.add(self._name)
        return self._name

    def _figures(self) -> dict[str, list[tuple[str, float]]]:
        """The kind of a file -> (key, value), of all that there is now: what is not is not written any more."""
        figures: dict[str, list[tuple[str, float]]] = {kind: [] for kind in KINDS}
        before, self._keys = self._keys, {}
        for family in self._collector.collect():
            values = figures[_kind(family)]
            for sample, value in _filed(family):
                labels = sample.labels
                series = (sample.name, *labels.values())
                if (key := before.get(series)) is None:
                    key = mmap_key(family.name, sample.name, list(labels), list(labels.values()), family.documentation)
                self._keys[series] = key
                values.append((key, value))
        return figures

    def _end_gauges(self) -> None:
        _own.discard(self._name)
        for path in self._directory.glob(f"gauge_live*_{self._name}.db"):
            self._shared.remove(path.name)


def as_file(values: Iterable[tuple[str, float]]) -> bytes:
    """Keys and values as prometheus-client files them: the length of all; then for each the length of its key, the key,
    filled up to a multiple of eight bytes, the value, and a time, which we leave at 0."""
    content = bytearray(8)
    for key, value in values:
        encoded = key.encode()
        content += struct.pack("i", len(encoded)) + encoded + b" " * (8 - (len(encoded) + 4) % 8)
        content += struct.pack("dd", value, 0.0)
    struct.pack_into("i", content, 0, len(content))
    return bytes(content)


def forget_the_dead(directory: Path) -> None:
    """End the gauges of processes that are no more. What they counted stays: a sum that falls would look like a
    start from zero."""
    for path in directory.glob("gauge_live*_evkafka-*.db"):
        name = path.stem.rpartition("_")[2]
        pid = int(name.split("-")[1])
        if name not in _own if pid == os.getpid() else not lives(pid):
            shared_directory(directory).remove(path.name)
            if pid != os.getpid():
                with suppress(OSError):  # as above
                    mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call] # and its own ones


def _kind(family: Metric) -> str:
    """Of which kind the file is that has these figures."""
    if family.type != "gauge":
        return family.type
    return "gauge_livesum" if family.name in SUMMED else "gauge_livemin" if family.name in LEAST else "gauge_livemax"


def _filed(family: Metric) -> Iterator[tuple[Sample, float]]:
    """The samples that are filed, and as which value: a histogram's buckets are filed one by one, and told as sums."""
    below = 0.0
    for sample in family.samples:
        if not sample.name.endswith("_bucket"):
            if family.type != "histogram" or sample.name.endswith("_sum"):  # its count is made from its buckets
                yield sample, sample.value
            continue
        yield sample, sample.value - below
        below = sample.value if sample.labels["le"] != "+Inf" else 0.0
