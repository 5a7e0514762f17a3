"""The app as the web server sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from evkafka.observe.health import HealthChecks
from evkafka.runtime.status import AppStatus


class ScrapableMetrics(Protocol):
    """Metrics that can be scraped."""

    def create_scrape_encoder(self, accept: str) -> Callable[[], tuple[bytes, str]]:
        """A function, to run in a thread, that returns the metrics in an accepted format, and its media type."""


class AppView(Protocol):
    """An app, as its contract page and health paths see it."""

    @property
    def title(self) -> str: ...
    @property
    def started(self) -> bool: ...
    @property
    def health(self) -> HealthChecks: ...
    @property
    def metrics(self) -> ScrapableMetrics | None: ...  # None if the extra is not installed
    def asyncapi(self) -> str: ...
    def status(self) -> AppStatus: ...
