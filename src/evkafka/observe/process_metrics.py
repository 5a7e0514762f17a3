"""Metrics of several processes as one: each process writes its values into the directory of prometheus-client's
multiprocess mode (`PROMETHEUS_MULTIPROC_DIR`), and the process that is scraped adds up all files there.

File names and format are those of prometheus-client, so that its collector reads our files along with those of the
metrics that the process registered itself. Unlike its files, ours are rewritten as a whole each time: the series of a
partition end when it is revoked.
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

from evkafka.observe.process_health import process_exists
from evkafka.observe.shared_directory import cached_shared_directory

INTERVAL_S = 1.0
SHARE_OF_TIME = 50
"""Writing takes at most one part in so many of the process's time."""

KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_livemin")
SUMMED = frozenset(
    {
        "evkafka_events_in_flight",
        "evkafka_assigned_partitions",
        "evkafka_paused_partitions",
        "evkafka_kept_records",
        "evkafka_kept_bytes",
    }
)
MINIMUM = frozenset({"evkafka_consumer_connected"})
"""Of all other gauges the maximum counts: a partition has one owner, and the latest event loop is the one to see."""

_own_names: set[str] = set()
"""The part of the file names that stands for an app of this process, one for each app."""


class ProcessMetrics:
    """One app's values, in the directory.

    Args:
        collector: its `collect` is called on the app's loop only.
    """

    def __init__(self, collector: Any, directory: Path) -> None:
        self._collector = collector
        self._directory = directory
        self._shared = cached_shared_directory(directory)
        self._pid, self._name = 0, ""
        self._keys: dict[tuple[str, ...], str] = {}  # the key of each series in the file: slow to make

    @asynccontextmanager
    async def share_values(self) -> AsyncIterator[None]:
        """While it is open, the values are written every second. Afterwards the counters stay and the gauges end."""
        writing = asyncio.ensure_future(self._write_values_forever())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.wait({writing})
            self.write_values()
            self._remove_own_gauge_files()

    async def _write_values_forever(self) -> None:
        while True:
            began_s = time.monotonic()
            self.write_values()
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(INTERVAL_S, took_s * SHARE_OF_TIME))

    def write_values(self) -> None:
        """Write the values of this moment. Called on the app's loop; a file that cannot be written raises nothing."""
        name = self._name_in_files()
        for kind, values in self._collect_own_values_by_file_kind().items():
            if not self._shared.write_file(f"{kind}_{name}.db", encode_file(values)):
                return

    def collect_all_processes(self) -> CollectorRegistry:
        """The values of all processes, as a registry. May be called in any thread.

        Raises:
            ValueError: the directory no longer exists.
        """
        end_gauges_of_dead_processes(self._directory)
        registry = CollectorRegistry(auto_describe=False)
        MultiProcessCollector(registry, path=str(self._directory))
        return registry

    # ------------------------------------------------------------------ files

    def _name_in_files(self) -> str:
        """The name of this app in this process, which may have been forked after the app was created."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._name = f"evkafka-{self._pid}-{secrets.token_hex(4)}"
            _own_names.add(self._name)
        return self._name

    def _collect_own_values_by_file_kind(self) -> dict[str, list[tuple[str, float]]]:
        """The (key, value) pairs of each kind of file. A series that no longer exists is not in it."""
        by_kind: dict[str, list[tuple[str, float]]] = {kind: [] for kind in KINDS}
        before, self._keys = self._keys, {}
        for family in self._collector.collect():
            values = by_kind[_file_kind_for_metric_family(family)]
            for sample, value in _samples_to_store(family):
                labels = sample.labels
                series = (sample.name, *labels.values())
                if (key := before.get(series)) is None:
                    key = mmap_key(family.name, sample.name, list(labels), list(labels.values()), family.documentation)
                self._keys[series] = key
                values.append((key, value))
        return by_kind

    def _remove_own_gauge_files(self) -> None:
        _own_names.discard(self._name)
        for path in self._directory.glob(f"gauge_live*_{self._name}.db"):
            self._shared.remove_file(path.name)


def encode_file(values: Iterable[tuple[str, float]]) -> bytes:
    """Keys and values in the format of prometheus-client: the length of everything; then for each pair the length of
    the key, the key, padded to a multiple of eight bytes, the value, and a time, which we leave at 0."""
    content = bytearray(8)
    for key, value in values:
        encoded = key.encode()
        content += struct.pack("i", len(encoded)) + encoded + b" " * (8 - (len(encoded) + 4) % 8)
        content += struct.pack("dd", value, 0.0)
    struct.pack_into("i", content, 0, len(content))
    return bytes(content)


def end_gauges_of_dead_processes(directory: Path) -> None:
    """Remove the gauges of processes that no longer exist. Their counters stay: a sum that falls would look like a
    start from zero."""
    for path in directory.glob("gauge_live*_evkafka-*.db"):
        name = path.stem.rpartition("_")[2]
        pid = int(name.split("-")[1])
        if name not in _own_names if pid == os.getpid() else not process_exists(pid):
            cached_shared_directory(directory).remove_file(path.name)
            if pid != os.getpid():
                with suppress(OSError):  # as `remove` does
                    mark_process_dead(pid, str(directory))  # the gauges that it registered itself


def _file_kind_for_metric_family(family: Metric) -> str:
    """The kind of file in which this family is stored."""
    if family.type != "gauge":
        return family.type
    return "gauge_livesum" if family.name in SUMMED else "gauge_livemin" if family.name in MINIMUM else "gauge_livemax"


def _samples_to_store(family: Metric) -> Iterator[tuple[Sample, float]]:
    """The samples to store, each with its value. The buckets of a histogram are cumulative in a sample, and stored as
    differences."""
    below = 0.0
    for sample in family.samples:
        if not sample.name.endswith("_bucket"):
            if family.type != "histogram" or sample.name.endswith("_sum"):  # its count is computed from its buckets
                yield sample, sample.value
            continue
        yield sample, sample.value - below
        below = sample.value if sample.labels["le"] != "+Inf" else 0.0
