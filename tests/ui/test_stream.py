"""The stream of snapshots."""

from __future__ import annotations

from evkafka.ui.stream import SnapshotStream


class TestStream:
    async def test_a_mounted_stream_has_one_snapshot_that_is_shared_by_requests_at_one_time(self) -> None:
        created: list[int] = []
        stream = SnapshotStream(lambda: created.append(1) or {}, lambda: None, one_by_one=True)  # type: ignore[arg-type,func-returns-value,return-value]
        try:
            parts = [[part async for part in stream.stream()] for _ in range(10)]
        finally:
            stream.end()
        assert parts == [[b"data: {}\n\n"]] * 10
        assert len(created) < 10
