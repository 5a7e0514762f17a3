"""Records that no endpoint takes: the default endpoint gets them; if no record matches at all, a warning is logged."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evkafka import ConfigError, Handler, Request
from evkafka.runtime.reporting import MOST_TYPES
from evkafka.telemetry import NothingMatches, RecordsUnmatched, TypeSkipped
from tests.support.engine import TOPIC, Bench


@pytest.fixture
def unmatched(bench: Bench) -> list[RecordsUnmatched]:
    events: list[RecordsUnmatched] = []
    bench.app.telemetry.listen(RecordsUnmatched, events.append)
    return events


@pytest.fixture
def said(bench: Bench) -> list[NothingMatches]:
    events: list[NothingMatches] = []
    bench.app.telemetry.listen(NothingMatches, events.append)
    return events


@pytest.fixture
def handler() -> Handler:
    """Knows type E only."""
    handler = Handler()

    @handler.event("E")
    async def on_e(value: bytes) -> None: ...

    return handler


class TestDefaultEndpoint:
    @pytest.mark.parametrize("concurrency", [1, 4])
    async def test_gets_records_that_no_endpoint_matches_also_without_a_type(
        self, bench: Bench, handler: Handler, unmatched: list[RecordsUnmatched], concurrency: int
    ) -> None:
        seen = []

        @handler.default()
        async def on_anything(value: bytes | None, request: Request) -> None:
            seen.append((value, request.event_type))

        await bench.send(b"known")
        await bench.send(b"other", event_type="Other")
        await bench.kafka.send(TOPIC, b"untyped", partition=0)
        await bench.kafka.send(TOPIC, None, "Other", partition=0)
        async with bench.running(handler, concurrency=concurrency):
            await bench.kafka.settle()
        assert sorted(seen, key=str) == [(None, "Other"), (b"other", "Other"), (b"untyped", None)]
        assert unmatched == []
        assert bench.committed() == 4

    async def test_is_included_with_its_handler(self, bench: Bench, handler: Handler) -> None:
        outer, seen = Handler(), []

        @handler.default()
        async def on_anything(value: bytes) -> None:
            seen.append(value)

        outer.include_handler(handler)
        await bench.send(b"x", event_type="Other")
        async with bench.running(outer):
            await bench.kafka.settle()
        assert seen == [b"x"]

    def test_a_second_one_is_refused(self, handler: Handler) -> None:
        @handler.default()
        async def on_anything(value: bytes) -> None: ...

        with pytest.raises(ConfigError, match="two default endpoints"):

            @handler.default()
            async def on_anything_else(value: bytes) -> None: ...


class TestAllMiss:
    async def send(self, bench: Bench, count: int, event_type: str = "Other") -> None:
        await bench.send(*[b"x"] * count, event_type=event_type)

    @pytest.mark.parametrize("keys", [{}, {"concurrency": 16}, {"auto_commit_mode": "pre-commit"}])
    async def test_after_the_first_thousand_a_warning_lists_the_types_seen_and_known_once(
        self, bench: Bench, handler: Handler, said: list[NothingMatches], keys: dict[str, Any]
    ) -> None:
        await self.send(bench, 900)
        await bench.kafka.send(TOPIC, b"untyped", partition=0)
        await self.send(bench, 1500, "Third")
        async with bench.running(handler, **keys):
            await bench.until(lambda: bench.committed() == 2401)
        [event] = said
        assert event.known == ("E",)
        assert event.seen["Other"] > 0
        assert sum(event.seen.values()) == event.count == 1000

    async def test_the_log_line_names_them(
        self, bench: Bench, handler: Handler, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.send(bench, 1000)
        with caplog.at_level(logging.WARNING, "evkafka.events"):
            async with bench.running(handler):
                await bench.kafka.settle()
        assert "Event types received: 'Other' (1000); event types with an endpoint: 'E'." in caplog.text

    @pytest.mark.parametrize("matched_at", [0, 999])
    async def test_there_is_no_warning_if_one_of_them_matches(
        self, bench: Bench, handler: Handler, said: list[NothingMatches], matched_at: int
    ) -> None:
        await self.send(bench, matched_at)
        await bench.send(b"known")
        await self.send(bench, 1500)
        async with bench.running(handler):
            await bench.kafka.settle()
        assert said == []

    async def test_records_read_again_after_a_rebalance_do_not_count_as_matched(
        self, bench: Bench, handler: Handler, said: list[NothingMatches]
    ) -> None:
        await self.send(bench, 400)
        async with bench.running(handler):
            await bench.kafka.settle()
            await bench.kafka.rebalance("g")
            await self.send(bench, 700)
            await bench.kafka.settle()
        assert len(said) == 1


class TestTypeSkipped:
    @pytest.fixture
    def skipped(self, bench: Bench) -> list[TypeSkipped]:
        events: list[TypeSkipped] = []
        bench.app.telemetry.listen(TypeSkipped, events.append)
        return events

    @pytest.mark.parametrize("keys", [{}, {"concurrency": 16}, {"auto_commit_mode": "pre-commit"}])
    async def test_each_type_is_reported_once_with_the_types_that_have_an_endpoint(
        self, bench: Bench, handler: Handler, skipped: list[TypeSkipped], keys: dict[str, Any]
    ) -> None:
        await bench.send(b"known")
        await bench.send(b"x", b"x", event_type="Other")
        await bench.kafka.send(TOPIC, b"untyped", partition=0)
        await bench.kafka.send(TOPIC, None, "E", partition=0)
        async with bench.running(handler, **keys):
            await bench.kafka.settle()
            await bench.send(b"x", event_type="Other")
            await bench.kafka.settle()
        assert sorted((one.topic, one.reason, one.event_type) for one in skipped) == [
            (TOPIC, "no_endpoint", "Other"),
            (TOPIC, "no_type", None),
            (TOPIC, "tombstone", "E"),
        ]
        assert {one.known for one in skipped} == {("E",)}

    async def test_a_type_is_reported_however_many_records_came_before(
        self, bench: Bench, handler: Handler, skipped: list[TypeSkipped]
    ) -> None:
        await bench.send(*[b"x"] * 1500, event_type="Other")
        await bench.send(b"x", event_type="Late")
        async with bench.running(handler):
            await bench.kafka.settle()
        assert [one.event_type for one in skipped] == ["Other", "Late"]

    async def test_the_number_of_reported_types_is_limited(
        self, bench: Bench, handler: Handler, skipped: list[TypeSkipped]
    ) -> None:
        for number in range(100):
            await bench.send(b"x", event_type=f"Other{number}")
        async with bench.running(handler):
            await bench.kafka.settle()
        assert [one.event_type for one in skipped] == [f"Other{number}" for number in range(MOST_TYPES)]

    async def test_a_type_whose_records_become_dead_letters_is_not_skipped(
        self, bench: Bench, handler: Handler, skipped: list[TypeSkipped]
    ) -> None:
        await bench.send(b"x", event_type="Other")
        async with bench.running(handler, unmatched="dead_letter"):
            await bench.kafka.settle()
        assert skipped == []

    async def test_the_log_has_one_line_for_each(
        self, bench: Bench, handler: Handler, caplog: pytest.LogCaptureFixture
    ) -> None:
        await bench.send(b"x", b"x", event_type="Other")
        await bench.kafka.send(TOPIC, b"untyped", partition=0)
        with caplog.at_level(logging.INFO, "evkafka.events"):
            async with bench.running(handler):
                await bench.kafka.settle()
        of_type, untyped = (one for one in caplog.messages if "skips" in one)
        assert f"skips records of type 'Other' in {TOPIC}: no endpoint handles them. " in of_type
        assert "Event types with an endpoint: 'E'." in of_type
        assert f"skips records without an event type in {TOPIC}: no endpoint handles them. " in untyped
