"""The two ways of sending that are measured, the same for every producer."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

TASKS = 1000
IN_FLIGHT = 2000
KEYS = [b"customer-%d" % number for number in range(64)]

Send = Callable[[int], Awaitable[object]]
Queue = Callable[[int], Awaitable["asyncio.Future[Any]"]]


def key_of(number: int) -> bytes:
    return KEYS[number % len(KEYS)]


def way() -> str:
    """`awaited` or `pipelined`: the row's last argument."""
    return sys.argv[4]


async def measure_sends(how: str, send: Send, queue: Queue, events: int) -> None:
    """Send so many events, all confirmed, and print what it took."""
    await send(0)  # topic and connections are known from here on
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    sent = await (_awaited(send, events) if how == "awaited" else _pipelined(queue, events))
    measured = {"events": sent, "cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}
    print(json.dumps(measured), flush=True)


async def _awaited(send: Send, events: int) -> int:
    """A thousand tasks, each of which waits for one confirmation after the other."""
    each = events // TASKS

    async def task(number: int) -> None:
        for _ in range(each):
            await send(number)

    await asyncio.gather(*(task(number) for number in range(TASKS)))
    return each * TASKS


async def _pipelined(queue: Queue, events: int) -> int:
    """One task that queues, and looks at the confirmations of so many at once."""
    for start in range(0, events, IN_FLIGHT):
        await asyncio.gather(*[await queue(number) for number in range(start, min(start + IN_FLIGHT, events))])
    return events
