"""An async context manager that is entered and left in one task, as an app's own life is.

Fixtures are set up in one task and torn down in another. A lifespan with a task group or a timeout in it would not
stand that.
"""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Held(Generic[T]):
    """Use as `async with Held(manager) as value`, also with entry and exit in different tasks of one loop.

    The exit is a clean one for the manager whatever happens inside: a failing test is not its concern.

    Attributes:
        context: the context variables as the entry left them.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.context = contextvars.Context()

    async def __aenter__(self) -> T:
        entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = self._task = asyncio.get_running_loop().create_task(self._live(entered))
        try:
            waited: set[asyncio.Future[Any]] = {task, entered}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if not entered.done():
            await task  # raises what the entry raised
        return entered.result()

    async def _live(self, entered: asyncio.Future[T]) -> None:
        async with self._manager as value:
            self.context = contextvars.copy_context()
            entered.set_result(value)
            await self._leave.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._leave.set()
        await self._task
