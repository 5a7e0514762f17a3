"""Metrics for Prometheus: events add up in plain dictionaries, and become text only when somebody scrapes.

Needs the extra `evkafka[metrics]`; without it there are none, and nothing is counted.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from evkafka.runtime.status import AppStatus
from evkafka.telemetry import Telemetry

if TYPE_CHECKING:
    from evkafka.observe.collector import AppCollector


class Measured(Protocol):
    """An app, as its metrics see it."""

    @property
    def telemetry(self) -> Telemetry: ...
    def status(self) -> AppStatus: ...


class Metrics:
    """An app's metrics, and what else the process has registered with prometheus-client."""

    def __init__(self, collector: AppCollector) -> None:
        self.collector = collector

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text in the format that the scraper's Accept header asks for, and its media type."""
        from prometheus_client import REGISTRY
        from prometheus_client.exposition import choose_encoder

        encode, media_type = choose_encoder(accept)
        return encode(_Both(self.collector, REGISTRY)), media_type


class _Both:
    """What the encoder takes for a registry: ours, and then the process's."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def collect(self) -> Any:
        for part in self._parts:
            yield from part.collect()


def metrics_of(app: Measured) -> Metrics | None:
    """Begin to count what an app does; None where the extra is missing."""
    if find_spec("prometheus_client") is None:
        return None
    from evkafka.observe.collector import AppCollector

    return Metrics(AppCollector(app))
