"""Tells a consumer to end its source: because of a stop, or because of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from evkafka.exceptions import BrokerRefused, StopApp

ENDS_APP = (StopApp, BrokerRefused)
"""The errors after which a consumer is not restarted."""


class StopSignal:
    """The stop signal of one consumer.

    Args:
        on_set: called after each stop and failure, to wake up waiting tasks.

    Attributes:
        stopping: done once a stop was requested.
        failure: raises the error that ended the source; replaced for each source.
    """

    def __init__(self, on_set: Callable[[], object]) -> None:
        self._on_set = on_set
        self.stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_set(self) -> bool:
        """True once no more records are read."""
        return self.stopping.done() or self.failure.done()

    @property
    def fatal_error(self) -> BaseException | None:
        """The failure that ends the app, if there is one. Records in flight may still be draining."""
        failure = self.failure.exception() if self.failure.done() else None
        return failure if isinstance(failure, ENDS_APP) else None

    def stop(self) -> None:
        """Idempotent."""
        if not self.stopping.done():
            self.stopping.set_result(None)
            self._on_set()

    def fail(self, error: BaseException) -> None:
        """The source is unusable, or the app must stop. A record's verdict takes precedence over a failure of the
        source."""
        if self.failure.done():
            if not isinstance(error, StopApp) or isinstance(self.failure.exception(), StopApp):
                return
            self.clear_failure()
        self.failure.set_exception(error)
        self.failure.exception()  # retrieve it, so that the event loop does not report it
        self._on_set()

    def clear_failure(self) -> None:
        """The failure was handled, and a new source follows."""
        self.failure = asyncio.get_running_loop().create_future()

    def stored_stop_app_else_given_failure(self, failure: BaseException | None) -> BaseException | None:
        """The given failure, or a record's verdict that came while draining, which takes precedence."""
        if self.failure.done() and isinstance(later := self.failure.exception(), StopApp):
            return later
        return failure
