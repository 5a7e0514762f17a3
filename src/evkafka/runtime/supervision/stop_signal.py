"""What ends the life of a consumer's source: the stop, or what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from evkafka.exceptions import BrokerRefused
from evkafka.runtime.settle import StopApp

ENDS_APP = (StopApp, BrokerRefused)
"""What no consumer is rebuilt after."""


class StopSignal:
    """One consumer's.

    Args:
        on_end: called with each of them, so that whoever waits looks again.

    Attributes:
        stopping: done once the consumer was told to stop.
        failure: raises what failed; a new one for each source.
    """

    def __init__(self, on_end: Callable[[], object]) -> None:
        self._on_end = on_end
        self.stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_set(self) -> bool:
        """True once nothing more is to be read."""
        return self.stopping.done() or self.failure.done()

    @property
    def verdict(self) -> BaseException | None:
        """The failure that ends the app, once it is known: what is in flight may still be draining."""
        failure = self.failure.exception() if self.failure.done() else None
        return failure if isinstance(failure, ENDS_APP) else None

    def stop(self) -> None:
        """Idempotent."""
        if not self.stopping.done():
            self.stopping.set_result(None)
            self._on_end()

    def fail(self, error: BaseException) -> None:
        """The source is beyond use, or the app must stop. A record's verdict outweighs a source's failure."""
        if self.failure.done():
            if not isinstance(error, StopApp) or isinstance(self.failure.exception(), StopApp):
                return
            self.reset()
        self.failure.set_exception(error)
        self.failure.exception()  # taken: the loop need not report it
        self._on_end()

    def reset(self) -> None:
        """What failed has been dealt with."""
        self.failure = asyncio.get_running_loop().create_future()

    def final_failure(self, failure: BaseException | None) -> BaseException | None:
        """While draining, a record's verdict may have come that outweighs what we stopped for."""
        if self.failure.done() and isinstance(later := self.failure.exception(), StopApp):
            return later
        return failure
