"""Answers made into bytes apart from the consumers' loop.

In a thread of its own, and not in the loop's default ones: those may be full of what the app's endpoints wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from evkafka.exceptions import EVKafkaError
from evkafka.serde.safe_text import json_text

T = TypeVar("T")


class TooBusy(EVKafkaError):
    """Others are being answered; asked again in a moment, it will be answered too."""


class Encoder:
    """Runs short work, one piece after the other, in a thread.

    Args:
        most: of so many pieces that wait, no more is taken.
    """

    def __init__(self, most: int) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="evkafka-web")
        self._most = most
        self._waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """
        Raises:
            TooBusy: too many wait already.
        """
        if self._waiting >= self._most:
            raise TooBusy("this page is asked too much at once; try again in a moment")
        self._waiting += 1
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        done.add_done_callback(self._one_less)
        return await done

    def _one_less(self, done: object) -> None:
        self._waiting -= 1

    def end(self) -> None:
        """Take nothing more; what waits is done still, for it is short."""
        self._threads.shutdown(wait=False)


def encoded(told: object) -> bytes:
    """JSON of which every character can be shown. Rows are encoded one by one: within one, no other thread runs."""
    return "".join(_pieces(told)).encode()


def _pieces(told: object) -> Iterator[str]:
    if not isinstance(told, Mapping):
        yield json_text(told)
        return
    yield "{"
    for number, (name, value) in enumerate(told.items()):
        yield f"{',' if number else ''}{json_text(name)}:"
        if isinstance(value, list):
            yield "["
            for place, row in enumerate(value):
                yield f"{',' if place else ''}{json_text(row)}"
            yield "]"
        else:
            yield json_text(value)
    yield "}"
