"""The stream of snapshots: one is made a second, for all who look; who is slow misses some, and nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from evkafka.ui.models import Snapshot
from evkafka.web.encoding import Encoder, encoded

logger = logging.getLogger("evkafka.web")

EACH_S = 1.0
VIEWERS = 50


class SnapshotStream:
    """Args:
    make: makes a snapshot.
    note: called every second while nobody looks.
    encoder: makes them into bytes; None for one of its own.
    one_by_one: end a stream after each snapshot; whoever looks comes again for the next. For servers of others: they
        wait for open streams when they are to stop, and the app's consumers would have to wait with them.
    """

    def __init__(
        self,
        make: Callable[[], Snapshot],
        note: Callable[[], object],
        encoder: Encoder | None = None,
        *,
        one_by_one: bool = False,
    ) -> None:
        self._make = make
        self._encoder = encoder or Encoder(VIEWERS)
        self._note = note
        self._one_by_one = one_by_one
        self._newest = b""
        self._made_at_s = 0.0
        self._next: asyncio.Future[None] | None = None
        self._making: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._ended = False
        self.viewers = 0

    @property
    def full(self) -> bool:
        return self.viewers >= VIEWERS or self._ended

    def start(self) -> None:
        """Begin to tick. Idempotent."""
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.ensure_future(self._tick())

    def end(self) -> None:
        """Let go of all who look, at once."""
        self._ended = True
        if self._ticking is not None:
            self._ticking.cancel()
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events: the newest snapshot now, and each one that follows."""
        self.start()
        self.viewers += 1
        try:
            if time.monotonic() - self._made_at_s > EACH_S / 2:
                await self._refresh()
            yield self._newest
            while not self._ended and not self._one_by_one:
                if self._next is None or self._next.done():
                    self._next = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._next)
                if not self._ended:
                    yield self._newest
        finally:
            self.viewers -= 1

    async def _tick(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(EACH_S)
                try:
                    if self.viewers:
                        await self._refresh()
                    else:
                        self._note()
                except Exception:
                    logger.exception("the operations page could not be brought up to date; it is tried again")
                if self._next is not None and not self._next.done():
                    self._next.set_result(None)

    async def _refresh(self) -> None:
        """One snapshot is made at a time, for all who wait for it; whoever hangs up does not end it for the others."""
        if self._ended:
            return
        if self._making is None or self._making.done():
            self._making = asyncio.ensure_future(self._make_one())
        await asyncio.shield(self._making)

    async def _make_one(self) -> None:
        """Made in the loop, whose state it shows; encoded apart from it."""
        made = self._make()
        self._newest = await self._encoder.run(lambda: b"data: " + encoded(made) + b"\n\n")
        self._made_at_s = time.monotonic()
