"""A partition that is full because a record fails logs which one; the next owner counts its attempts from 1."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evkafka import Handler
from tests.support.engine import GROUP, Bench

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
            await bench.send(b"%d" % number, key=f"k{number}")

    async def test_logs_the_record_and_since_when_it_blocks_once_a_minute(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.fill(bench)
        async with bench.running(failing_for(b"bad"), **SMALL):
            await bench.until(lambda: messages(caplog, "has stopped reading"))
            [said] = messages(caplog, "has stopped reading")
            assert "consumer it has stopped reading t[0]: " in said
            assert "records wait for offset 0, unfinished for " in said
            assert "failed attempts" in said
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
            assert " records wait for offset 0, unfinished for " in note

    def notes(self, bench: Bench) -> list[str]:
        checks = bench.app.health.ready(bench.app.status()).checks
        return [note for one in checks for note in one.notes if "is not read" in note]

    async def test_logs_nothing_if_handlers_are_only_slow(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            await bench.kafka.advance(ms=1)

        await self.fill(bench)
        async with bench.running(handler, **SMALL):
            await bench.until(lambda: bench.committed() == 61)
        assert messages(caplog, "has stopped reading") == []


class TestFailedAttempts:
    async def test_are_logged_when_their_partition_is_revoked(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        await bench.send(b"bad")
        async with bench.running(failing_for(b"bad"), on_error={"max_attempts": 9, "backoff_ms": 30_000}):
            await bench.until(lambda: bench.consumer.status().partitions[0].retrying)
            bench.kafka.rebalance(GROUP)
            await bench.until(lambda: messages(caplog, "partition revoked"))
        said = messages(caplog, "partition revoked while t[0]@0 was being retried (failed attempts: 1)")
        assert said[0].endswith("; its next owner counts attempts from 1 again")
        assert {
            record.levelno for record in caplog.records if "partition revoked while t[0]@0" in record.getMessage()
        } == {logging.WARNING}
