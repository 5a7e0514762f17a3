"""The stream of snapshots: one per second, shared by all viewers. A slow viewer misses some and delays no other.

Nothing runs while nobody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from evkafka.http.encoding import encode_json
from evkafka.http.single_thread_executor import SingleThreadExecutor
from evkafka.ui.models import PageSnapshot

logger = logging.getLogger("evkafka.web")

INTERVAL_S = 1.0
VIEWERS_MAX = 50


class SnapshotStream:
    """Sends snapshots to browsers.

    Args:
        make_snapshot: called in the event loop.
        encoder: the thread that encodes snapshots; None creates one.
        one_by_one: end each stream after one snapshot; the browser then asks for the next. Use it in other servers:
            at their stop they wait for open streams, and the app's consumers would have to wait with them.
    """

    def __init__(
        self,
        make_snapshot: Callable[[], PageSnapshot],
        encoder: SingleThreadExecutor | None = None,
        *,
        one_by_one: bool = False,
    ) -> None:
        self._make_snapshot = make_snapshot
        self._encoder = encoder or SingleThreadExecutor(VIEWERS_MAX)
        self._one_by_one = one_by_one
        self._newest = b""
        self._created_at_s = 0.0
        self._next: asyncio.Future[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._ended = False
        self.viewers = 0

    @property
    def is_full(self) -> bool:
        return self.viewers >= VIEWERS_MAX or self._ended

    def end_all_streams(self) -> None:
        """End all streams at once."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events: the newest snapshot at once, then every new one."""
        self.viewers += 1
        if self._timer is None or self._timer.done():
            self._timer = asyncio.ensure_future(self._refresh_every_second())
        try:
            if time.monotonic() - self._created_at_s > INTERVAL_S / 2:
                await self._refresh_snapshot()
            yield self._newest
            while not self._ended and not self._one_by_one:
                if self._next is None or self._next.done():
                    self._next = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._next)
                if not self._ended:
                    yield self._newest
        finally:
            self.viewers -= 1

    async def _refresh_every_second(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while self.viewers:
                await asyncio.sleep(INTERVAL_S)
                try:
                    await self._refresh_snapshot()
                except Exception:
                    logger.exception("the dashboard could not be brought up to date; it is tried again")
                if self._next is not None and not self._next.done():
                    self._next.set_result(None)

    async def _refresh_snapshot(self) -> None:
        """Create one snapshot for all viewers that wait. A viewer that disconnects does not cancel it for others."""
        if self._ended:
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self._create_snapshot())
        await asyncio.shield(self._refreshing)

    async def _create_snapshot(self) -> None:
        """Read the state in the event loop; encode it in the thread."""
        snapshot = self._make_snapshot()
        self._newest = await self._encoder.run_function(lambda: b"data: " + encode_json(snapshot) + b"\n\n")
        self._created_at_s = time.monotonic()
