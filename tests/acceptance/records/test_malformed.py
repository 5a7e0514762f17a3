"""Malformed records: each blocks at most its own partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import Handler, Request
from tests.acceptance.records.apps import running
from tests.support.backends import RealBackend, committed_is

DEEP = b"[" * 100_000 + b"]" * 100_000


class Order(BaseModel):
    number: int
    more: Any = None


class TestDeeplyNestedJson:
    @pytest.mark.parametrize("value", [DEEP, b'{"number": 1, "more": ' + DEEP + b"}", DEEP[:100_000]])
    @pytest.mark.parametrize("payload", [Order, dict, list[Any]])
    async def test_cannot_be_decoded(self, kafka: RealBackend, value: bytes, payload: Any) -> None:
        topic, handler, seen = await kafka.topic(), Handler(), list[object]()

        async def on_event(event: Any) -> None:
            seen.append(event)

        on_event.__annotations__["event"] = payload
        handler.event("E")(on_event)
        config = kafka.config(topic, on_error={"max_attempts": 3, "then": "skip"})
        await kafka.send(topic, value)
        await kafka.send(topic, [1] if payload == list[Any] else {"number": 2})
        async with running(config, handler):
            await committed_is(kafka, config, topic, 2)
        assert len(seen) == 1

    async def test_blocks_only_its_own_partition(self, kafka: RealBackend) -> None:
        topic, handler, seen = await kafka.topic(partitions=2), Handler(), list[int]()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            seen.append(order.number)

        config = kafka.config(topic)
        await kafka.send(topic, DEEP, partition=0)
        for number in range(3):
            await kafka.send(topic, {"number": number}, partition=1)
        async with running(config, handler):
            await committed_is(kafka, config, topic, 3, partition=1)
            assert await kafka.committed(config, topic, 0) in (None, 0)
        assert seen == [0, 1, 2]


class TestHeaders:
    @pytest.mark.parametrize(
        ("headers", "taken"),
        [
            ([], False),
            ([("Event-Type", None)], False),
            ([("event-type", b"E")], False),
            ([("Event-Type", b"")], False),
            ([("Event-Type", b"\xff\xfe")], False),
            ([("Event-Type", b"E"), ("Event-Type", b"Other")], True),
            ([("Event-Type", b"Other"), ("Event-Type", b"E")], False),
            ([("", b""), ("Event-Type", b"E"), ("x", None), ("x", b"1"), ("x", b"\xff")], True),
            ([(f"h{n}", bytes(100)) for n in range(1000)] + [("Event-Type", b"E")], True),
        ],
        ids=["none", "null", "case", "empty", "not-utf8", "doubled", "doubled-other-first", "strange", "thousand"],
    )
    async def test_of_every_kind_end_no_consumer(
        self, kafka: RealBackend, headers: Sequence[tuple[str, bytes | None]], taken: bool
    ) -> None:
        topic, handler, seen = await kafka.topic(), Handler(), list[bytes]()

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            assert list(request.raw_headers) == list(headers) or value == b"last"
            assert all(found is not None for found in request.headers.values())
            seen.append(value)

        config = kafka.config(topic)
        await kafka.send(topic, b"first", None, headers=headers)
        await kafka.send(topic, b"last")
        async with running(config, handler):
            await committed_is(kafka, config, topic, 2)
        assert seen == ([b"first", b"last"] if taken else [b"last"])
