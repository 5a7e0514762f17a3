"""A position that the reset rule has found is committed at once: a crash before the first commit skips nothing."""

from __future__ import annotations

from evkafka import Handler
from tests.support.engine import Bench, Gates

HOUR_MS = 3_600_000


async def test_is_committed_without_waiting_for_the_interval(bench: Bench, gates: Gates, handler: Handler) -> None:
    for number in range(3):
        await bench.send(b"%d" % number)
    async with bench.running(handler, auto_offset_reset="latest", auto_commit_interval_ms=HOUR_MS):
        await bench.until(lambda: bench.committed() == 3, ms=5_000)
    assert gates.begun == []
