"""Samples the lag for the history while nobody looks at the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from evkafka.ui.history import SAMPLE_S

logger = logging.getLogger("evkafka.web")


class LagSampler:
    """Calls a function every `SAMPLE_S`, unless a viewer makes snapshots, which are samples too.

    Args:
        sample: called in the event loop.
        viewers: returns the number of viewers.
    """

    def __init__(self, sample: Callable[[], object], viewers: Callable[[], int]) -> None:
        self._sample = sample
        self._viewers = viewers
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start in the running event loop. Idempotent."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._sample_forever())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _sample_forever(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            try:
                if not self._viewers():
                    self._sample()
            except Exception:
                logger.exception("the lag could not be recorded for the dashboard; it is tried again")
