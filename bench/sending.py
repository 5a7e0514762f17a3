"""The two modes of sending that are measured, the same for every producer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench.arguments import options

TASKS = 1000
IN_FLIGHT = 2000
KEYS = [b"customer-%d" % number for number in range(64)]

Send = Callable[[int], Awaitable[object]]
Queue = Callable[[int], Awaitable["asyncio.Future[Any]"]]


def key_of(number: int) -> bytes:
    return KEYS[number % len(KEYS)]


def mode() -> str:
    """Return the row's option: `awaited` or `pipelined`."""
    [mode] = options()
    return mode


async def measure_sends(mode: str, send: Send, queue: Queue, events: int) -> None:
    """Send the events, wait until all are confirmed, and print the figures."""
    await send(0)  # topic metadata and connections exist from here on
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    sent = await (_send_awaited(send, events) if mode == "awaited" else _send_pipelined(queue, events))
    measured = {"events": sent, "cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}
    print(json.dumps(measured), flush=True)


async def _send_awaited(send: Send, events: int) -> int:
    """A thousand tasks, each of which waits for the confirmation of every send."""
    each = events // TASKS

    async def task(number: int) -> None:
        for _ in range(each):
            await send(number)

    await asyncio.gather(*(task(number) for number in range(TASKS)))
    return each * TASKS


async def _send_pipelined(queue: Queue, events: int) -> int:
    """One task that queues `IN_FLIGHT` sends, and then waits for all their confirmations."""
    for start in range(0, events, IN_FLIGHT):
        await asyncio.gather(*[await queue(number) for number in range(start, min(start + IN_FLIGHT, events))])
    return events
