"""Metrics for Prometheus: events are counted in plain dictionaries, and encoded as text only for a scrape.

Needs the extra `evkafka[metrics]`; without it nothing is counted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evkafka.exceptions import ConfigError
from evkafka.runtime.status import AppStatus
from evkafka.telemetry import Telemetry

if TYPE_CHECKING:
    from evkafka.observe.process_metrics import ProcessMetrics
    from evkafka.observe.prometheus import AppCollector

logger = logging.getLogger("evkafka")

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """An app's metrics, and whatever else the process has registered with prometheus-client.

    Args:
        sharing: shares the values with the app's other processes; None for an app of one process.
    """

    def __init__(self, collector: AppCollector, sharing: ProcessMetrics | None = None) -> None:
        self.collector = collector
        self._sharing = sharing
        self._logged = False

    def share_values(self) -> AbstractAsyncContextManager[None]:
        """While it is open, the other processes can read the values of this one."""
        return self._sharing.share_values() if self._sharing is not None else nullcontext()

    def create_scrape_encoder(self, accept: str) -> Callable[[], tuple[bytes, str]]:
        """Take the values of this moment, on the app's loop. Encoding them may take long and is left to a thread.

        Args:
            accept: the Accept header of the scraper.

        Returns:
            A function that encodes them: it returns the text in the wanted format, and its media type.
        """
        from prometheus_client import REGISTRY

        if self._sharing is not None:
            self._sharing.write_values()
        own = _Collectors(self.collector.snapshot(), REGISTRY)
        if self._sharing is None:
            return lambda: _encode_registry(own, accept)
        return partial(self._encode_metrics_of_all_processes, self._sharing, own, accept)

    def _encode_metrics_of_all_processes(
        self, sharing: ProcessMetrics, own: _Collectors, accept: str
    ) -> tuple[bytes, str]:
        try:
            encoded = _encode_registry(sharing.collect_all_processes(), accept)
        except Exception as error:  # the directory may hold anything: half a file, or a foreign one
            if not self._logged:
                logger.warning("cannot read the metrics of the app's other processes, which are left out: %s", error)
            self._logged = True
            return _encode_registry(own, accept)
        self._logged = False
        return encoded


def _encode_registry(registry: Any, accept: str) -> tuple[bytes, str]:
    from prometheus_client.exposition import choose_encoder

    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Collectors:
    """Several collectors as one, which prometheus-client's encoders take for a registry."""

    def __init__(self, *collectors: Any) -> None:
        self._collectors = collectors

    def collect(self) -> Any:
        for collector in self._collectors:
            yield from collector.collect()


def create_multiprocess_directory_from_env(*, needed: bool = True) -> Path | None:
    """The directory in which the processes of an app share metrics and health, from `PROMETHEUS_MULTIPROC_DIR`; it is
    created if it does not exist. None for a process that shares nothing.

    Args:
        needed: False for a process that serves neither: it then works without the directory.

    Raises:
        ConfigError: it cannot be created, and is needed.
    """
    named = os.environ.get(DIRECTORY_VARIABLE)
    if not named:
        return None
    directory = Path(named)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"{DIRECTORY_VARIABLE} names {named!r}, and that directory cannot be created: {error.strerror}"
        if needed:
            raise ConfigError(sentence) from error
        logger.warning("%s; the metrics and health of this process are missing in the app's other processes", sentence)
        return None
    return directory


def create_metrics(telemetry: Telemetry, status: Callable[[], AppStatus]) -> Metrics | None:
    """Start counting an app's events; None if the extra is not installed.

    Args:
        status: returns the app's status, from which the gauges are read at each scrape. Called on the app's loop.
    """
    if find_spec("prometheus_client") is None:
        return None
    from evkafka.observe.process_metrics import ProcessMetrics
    from evkafka.observe.prometheus import AppCollector

    collector, directory = AppCollector(telemetry, status), create_multiprocess_directory_from_env()
    return Metrics(collector, ProcessMetrics(collector, directory) if directory is not None else None)
