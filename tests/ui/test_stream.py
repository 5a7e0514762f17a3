"""The stream of snapshots."""

from __future__ import annotations

from evkafka.ui.stream import SnapshotStream


class TestStream:
    async def test_a_mounted_stream_has_one_snapshot_that_is_shared_by_requests_at_one_time(self) -> None:
        made: list[int] = []
        live = SnapshotStream(lambda: made.append(1) or {}, lambda: None, one_by_one=True)  # type: ignore[arg-type,func-returns-value,return-value]
        try:
            told = [[part async for part in live.stream()] for _ in range(10)]
        finally:
            live.end()
        assert told == [[b"data: {}\n\n"]] * 10
        assert len(made) < 10
