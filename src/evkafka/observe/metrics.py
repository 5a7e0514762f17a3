"""Metrics for Prometheus: events add up in plain dictionaries, and become text only when somebody scrapes.

Needs the extra `evkafka[metrics]`; without it there are none, and nothing is counted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evkafka.exceptions import ConfigError
from evkafka.runtime.status import AppStatus
from evkafka.telemetry import Telemetry

if TYPE_CHECKING:
    from evkafka.observe.process_metrics import ProcessMetrics
    from evkafka.observe.prometheus import AppCollector


logger = logging.getLogger("evkafka")

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Measured(Protocol):
    """An app, as its metrics see it."""

    @property
    def telemetry(self) -> Telemetry: ...
    def status(self) -> AppStatus: ...


class Metrics:
    """An app's metrics, and what else the process has registered with prometheus-client.

    Args:
        sharing: where the app runs in several processes: what all of them count is told by each.
    """

    def __init__(self, collector: AppCollector, sharing: ProcessMetrics | None = None) -> None:
        self.collector = collector
        self._sharing = sharing
        self._said = False

    def shared(self) -> AbstractAsyncContextManager[None]:
        """Inside, the other processes know of this one's figures."""
        return self._sharing.running() if self._sharing is not None else nullcontext()

    def scraping(self, accept: str) -> Callable[[], tuple[bytes, str]]:
        """The figures of this moment, and the work of encoding them, which may take long: for a thread.

        Returns:
            What gives the text in the format that the scraper's Accept header asks for, and its media type.
        """
        from prometheus_client import REGISTRY

        if self._sharing is not None:
            self._sharing.leave()
        own = _Both(self.collector.snapshot(), REGISTRY)
        if self._sharing is None:
            return lambda: _told(own, accept)
        return partial(self._told_of_all, self._sharing, own, accept)

    def _told_of_all(self, sharing: ProcessMetrics, own: _Both, accept: str) -> tuple[bytes, str]:
        try:
            told = _told(sharing.everyone(), accept)
        except Exception as error:  # whatever lies there: a file may be half, or somebody else's
            if not self._said:
                logger.warning("the figures of the app's other processes cannot be read, and are left out: %s", error)
            self._said = True
            return _told(own, accept)
        self._said = False
        return told


def _told(registry: Any, accept: str) -> tuple[bytes, str]:
    from prometheus_client.exposition import choose_encoder

    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Both:
    """What the encoder takes for a registry: ours, and then the process's."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def collect(self) -> Any:
        for part in self._parts:
            yield from part.collect()


def directory_of_processes(*, needed: bool = True) -> Path | None:
    """Where the processes of an app leave their figures for each other; None where this one counts for itself.

    Args:
        needed: False for a process that nobody asks for them: without the directory it counts for itself.

    Raises:
        ConfigError: there is no such directory, it cannot be made, and it is needed.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    directory = Path(named)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"{VARIABLE} names {named!r}, and no directory can be made there: {error.strerror}"
        if needed:
            raise ConfigError(sentence) from error
        logger.warning("%s; the app's other processes do not learn what this one counts and how it is", sentence)
        return None
    return directory


def metrics_of(app: Measured) -> Metrics | None:
    """Begin to count what an app does; None where the extra is missing."""
    if find_spec("prometheus_client") is None:
        return None
    from evkafka.observe.process_metrics import ProcessMetrics
    from evkafka.observe.prometheus import AppCollector

    collector, directory = AppCollector(app), directory_of_processes()
    return Metrics(collector, ProcessMetrics(collector, directory) if directory is not None else None)
