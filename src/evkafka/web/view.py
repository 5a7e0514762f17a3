"""What the web part is given of an app."""

from __future__ import annotations

from typing import Protocol

from evkafka.observe.health import HealthBook
from evkafka.runtime.status import AppStatus


class Exposed(Protocol):
    """Metrics that can be scraped."""

    async def scraped(self, accept: str) -> tuple[bytes, str]:
        """The text in the format that the scraper asks for, and its media type."""


class AppView(Protocol):
    """An app, as its pages see it."""

    @property
    def title(self) -> str: ...
    @property
    def started(self) -> bool: ...
    @property
    def health(self) -> HealthBook: ...
    @property
    def metrics(self) -> Exposed | None: ...  # None where the extra is missing
    def asyncapi(self) -> str: ...
    def status(self) -> AppStatus: ...
