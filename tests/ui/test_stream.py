"""The stream of snapshots."""

from __future__ import annotations

import asyncio

from evkafka.ui.stream import SnapshotStream
from tests.support.waiting import eventually


class TestStream:
    async def test_a_mounted_stream_has_one_snapshot_that_is_shared_by_requests_at_one_time(self) -> None:
        created: list[int] = []
        stream = SnapshotStream(lambda: created.append(1) or {}, one_by_one=True)  # type: ignore[arg-type,func-returns-value,return-value]
        try:
            parts = [[part async for part in stream.stream()] for _ in range(10)]
        finally:
            stream.end_all_streams()
        assert parts == [[b"data: {}\n\n"]] * 10
        assert len(created) < 10

    async def test_runs_nothing_while_nobody_looks(self) -> None:
        stream = SnapshotStream(dict)  # type: ignore[arg-type,typeddict-item,return-value]
        before = asyncio.all_tasks()
        for _ in range(2):
            looking = stream.stream()
            assert await anext(looking) == b"data: {}\n\n"
            assert await anext(looking) == b"data: {}\n\n"
            assert asyncio.all_tasks() > before
            await looking.aclose()  # type: ignore[attr-defined]
            await eventually(lambda: asyncio.all_tasks() == before)
        stream.end_all_streams()
