"""What the web part is given of an app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from evkafka.observe.health import HealthChecks
from evkafka.runtime.status import AppStatus


class Exposed(Protocol):
    """Metrics that can be scraped."""

    def scraping(self, accept: str) -> Callable[[], tuple[bytes, str]]:
        """What makes, in a thread, the text in the format that the scraper asks for, and its media type."""


class AppView(Protocol):
    """An app, as its pages see it."""

    @property
    def title(self) -> str: ...
    @property
    def started(self) -> bool: ...
    @property
    def health(self) -> HealthChecks: ...
    @property
    def metrics(self) -> Exposed | None: ...  # None where the extra is missing
    def asyncapi(self) -> str: ...
    def status(self) -> AppStatus: ...
