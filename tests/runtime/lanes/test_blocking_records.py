"""A partition that is full because a record fails logs which one."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import Handler
from tests.support.engine import Bench

SMALL: dict[str, Any] = {"concurrency": 4, "max_pending_records": 20, "max_poll_records": 10}


def failing_for(poison: bytes) -> Handler:
    handler = Handler()

    @handler.event("E")
    async def on_e(value: bytes) -> None:
        if value == poison:
            raise ValueError("poison")

    return handler


def messages(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


class TestAPartitionThatIsFullBecauseARecordFails:
    async def fill(self, bench: Bench) -> None:
        await bench.send(b"bad", key="bad")
        for number in range(60):
            await bench.send(b"%d" % number, key="bad")

    async def test_logs_the_record_and_since_when_it_blocks_once_a_minute(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.fill(bench)
        async with bench.running(failing_for(b"bad"), **SMALL):
            await bench.until(lambda: messages(caplog, "has stopped reading"))
            [said] = messages(caplog, "has stopped reading")
            assert "consumer it has stopped reading t[0]: " in said
            assert " records are unfinished. The oldest unfinished record is at offset 0, unfinished for " in said
            assert "(failed attempts: " in said
            assert "`max_attempts`" in said
            await bench.kafka.advance(ms=55_000)
            assert len(messages(caplog, "has stopped reading")) == 1
            await bench.until(lambda: len(messages(caplog, "has stopped reading")) == 2)

    async def test_is_shown_by_health(self, bench: Bench) -> None:
        await self.fill(bench)
        async with bench.running(failing_for(b"bad"), **SMALL):
            await bench.until(lambda: bench.consumer.status().partitions[0].full)
            await bench.until(lambda: self.notes(bench))
            [note] = self.notes(bench)
            assert note.startswith("t[0] is not read at the moment: ")
            assert " records are unfinished; the oldest unfinished record is at offset 0, unfinished for " in note

    def notes(self, bench: Bench) -> list[str]:
        checks = bench.app.health.ready(bench.app.status()).checks
        return [note for one in checks for note in one.notes if "is not read" in note]

    async def test_of_which_the_metadata_is_full_is_named_too(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        await bench.send(b"bad", key="bad")
        for number in range(700):  # every second one waits, so that what is finished is no single range
            await bench.send(b"%d" % number, key="bad" if number % 2 else f"k{number}")
        async with bench.running(
            failing_for(b"bad"), **SMALL | {"max_pending_records": 1000}, commit_metadata_max_bytes=128
        ):
            await bench.until(lambda: messages(caplog, "has stopped reading"))
            [said] = messages(caplog, "has stopped reading")
            assert "offsets finished after offset 0 do not fit into the metadata of a commit" in said
            assert "The oldest unfinished record is at offset 0, unfinished for " in said
            assert "`commit_metadata_max_bytes`" in said
            [note] = self.notes(bench)
            assert note.startswith("t[0] is not read at the moment: ")
            assert (
                "offsets finished after offset 0 do not fit into the metadata of a commit; the oldest unfinished "
                in note
            )

    async def test_logs_nothing_if_handlers_are_only_slow(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            await bench.kafka.advance(ms=1)

        await self.fill(bench)
        async with bench.running(handler, **SMALL):
            await bench.until(lambda: bench.committed() == 61)
        assert messages(caplog, "has stopped reading") == []
