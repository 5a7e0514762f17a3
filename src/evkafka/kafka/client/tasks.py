"""Starts tasks of a client, and cancels those of aiokafka."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from evkafka.config.settings import ConnectionSettings
from evkafka.runtime.supervision.tasks import PREFIX

T = TypeVar("T")


def start_named_task(what: str, connection: ConnectionSettings, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task of a source or sink, with a name like those of the runtime's tasks."""
    return asyncio.get_running_loop().create_task(work, name=f"{PREFIX}{connection.client_id}-{what}")


async def cancel_all(tasks: Iterable[asyncio.Task[Any] | None], timeout_s: float) -> None:
    """Cancel tasks, and cancel those again that took the first cancellation for something else."""
    running = left = {task for task in tasks if task is not None and not task.done()}
    for _ in range(3):
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=timeout_s / 3)
        left = {task for task in left if not task.done()}
    for task in running - left:
        if not task.cancelled():
            task.exception()  # retrieved, so that the loop does not report it
