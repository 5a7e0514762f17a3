"""The matrix of malformed records: for each the decision, commit, metrics, log and dead letter.

Each row is the second of three records. Whatever it is, the other two are handled; it is never lost, and it never ends
the consumer.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler
from evkafka.broker import KafkaBroker
from evkafka.telemetry import RecordsProcessed
from tests.support.backends import Backend, Headers, MemoryBackend, check_all, committed_is

CANARY = b"canary-in-the-payload"
DEEP = b"[" * 100_000 + b"]" * 100_000
TYPE = ("Event-Type", b"E")

Decision = Literal["handled", "undecodable", "unmatched"]


class Order(BaseModel):
    number: int
    share: float = 0.0
    note: str = ""
    more: Any = None


@dataclass(frozen=True)
class Row:
    """A record and its expected decision.

    Attributes:
        decision: `handled`: its endpoint is called. `undecodable`: the policy's last action, without an attempt.
            `unmatched`: no endpoint matches.
    """

    name: str
    decision: Decision
    value: bytes | None = b'{"number": 2}'
    headers: Headers = (TYPE,)
    key: bytes | None = b"k"


VALUES = [
    Row("value: invalid JSON", "undecodable", b"{no json " + CANARY),
    Row("value: truncated JSON", "undecodable", b'{"number": 2, "note": "' + CANARY),
    Row("value: trailing junk", "undecodable", b'{"number": 2} ' + CANARY),
    Row("value: not UTF-8", "undecodable", b'{"number": 2, "note": "\xff\xfe' + CANARY + b'"}'),
    Row("value: UTF-16", "undecodable", '{"number": 2}'.encode("utf-16")),
    Row("value: a byte order mark", "undecodable", b"\xef\xbb\xbf" + b'{"number": 2}'),
    Row("value: empty", "undecodable", b""),
    Row("value: one byte", "undecodable", b"\x00"),
    Row("value: null, a tombstone", "unmatched", None),
    Row("value: JSON null", "undecodable", b"null"),
    Row("value: another shape", "undecodable", b'{"number": "' + CANARY + b'"}'),
    Row("value: a field is missing", "undecodable", b'{"note": "' + CANARY + b'"}'),
    Row("value: a number beyond its range", "undecodable", b'{"number": 1e999}'),
    Row("value: a float beyond its range", "handled", b'{"number": 2, "share": 1e999}'),
    Row("value: NaN and Infinity", "handled", b'{"number": 2, "share": NaN, "more": Infinity}'),
    Row("value: an integer of 4000 digits", "handled", b'{"number": ' + b"7" * 4000 + b"}"),
    Row("value: an integer of 5000 digits", "undecodable", b'{"number": ' + b"7" * 5000 + b"}"),
    Row("value: a key twice, the last counts", "handled", b'{"number": "no", "number": 2}'),
    Row("value: a lone surrogate", "undecodable", rb'{"number": 2, "note": "\ud800"}'),
    Row("value: nested 100 000 deep", "undecodable", b'{"number": 2, "more": ' + DEEP + b"}"),
    Row("value: 100 000 open brackets", "undecodable", DEEP[:100_000]),
    Row("value: 50 000 fields", "handled", b'{"number": 2' + b"".join(b',"f%d":0' % n for n in range(50_000)) + b"}"),
    Row("value: 900 kB", "handled", b'{"number": 2, "note": "' + b"x" * 900_000 + b'"}'),
]
HEADERS = [
    Row("header: no event type", "unmatched", headers=()),
    Row("header: the event type is null", "unmatched", headers=[("Event-Type", None)]),
    Row("header: the event type is empty", "unmatched", headers=[("Event-Type", b"")]),
    Row("header: the event type is not UTF-8", "unmatched", headers=[("Event-Type", b"\xff\xfe")]),
    Row("header: an unknown event type", "unmatched", headers=[("Event-Type", b"Other")]),
    Row("header: an event type of 100 kB", "unmatched", headers=[("Event-Type", b"E" * 100_000)]),
    Row("header: another case", "unmatched", headers=[("event-type", b"E")]),
    Row("header: the event type twice, the first counts", "handled", headers=[TYPE, ("Event-Type", b"Other")]),
    Row("header: another event type first", "unmatched", headers=[("Event-Type", b"Other"), TYPE]),
    Row(
        "header: an empty name, null and doubled values", "handled", headers=[TYPE, ("", b""), ("x", None), ("x", b"1")]
    ),
    Row("header: a value of 500 kB", "handled", headers=[TYPE, ("x", b"\xff" * 500_000)]),
    Row("header: 10 000 of them", "handled", headers=[*((f"h{n}", b"1") for n in range(10_000)), TYPE]),
]
KEYS = [
    Row("key: none", "handled", key=None),
    Row("key: empty", "handled", key=b""),
    Row("key: binary, not UTF-8", "handled", key=b"\x00\xff\xfe"),
    Row("key: 100 kB", "handled", key=b"k" * 100_000),
    Row("key: of an undecodable record", "undecodable", CANARY, key=b"\x00\xff"),
]
ROWS = VALUES + HEADERS + KEYS


class Run:
    def __init__(self, config: dict[str, Any]) -> None:
        self.numbers: list[int] = []
        self.ended: list[str] = []
        handler, self.app = Handler(), EVKafkaApp()

        @handler.event("E")
        async def on_event(order: Order) -> None:
            self.numbers.append(order.number)

        self.app.telemetry.listen(
            RecordsProcessed,
            lambda event: self.ended.extend(status for (_, status), all_s in event.durations_s.items() for _ in all_s),
        )
        self.app.add_consumer(config, handler)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_outcome_under_a_dead_letter_policy(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    backend = MemoryBackend()
    with caplog.at_level(logging.INFO):
        async with backend.kafka:
            await check_outcome(backend, row)
    assert CANARY.decode() not in caplog.text  # payloads are never logged
    if row.decision == "undecodable":
        assert "[0]@1" in caplog.text  # its address is logged


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_outcome_under_the_default_policy(row: Row) -> None:
    """An undecodable record is retried and blocks only its own partition; all others are committed."""
    backend = MemoryBackend()
    async with backend.kafka:
        topic = await backend.topic(partitions=2)
        config = backend.config(topic)
        await send_three(backend, topic, row)
        await backend.send(topic, b'{"number": 9}', partition=1)
        run = Run(config)
        async with backend.running(run.app):
            await committed_is(backend, config, topic, 1, partition=1)
            await committed_is(backend, config, topic, 1 if row.decision == "undecodable" else 3)
        assert 9 in run.numbers


@pytest.mark.kafka
def test_the_outcome_on_a_real_kafka(kafka_broker: KafkaBroker) -> None:
    asyncio.run(check_all(kafka_broker.bootstrap_servers, ROWS, check_outcome))


async def send_three(backend: Backend, topic: str, row: Row) -> None:
    await backend.send(topic, b'{"number": 1}', key=b"other")
    await backend.send(topic, row.value, None, headers=row.headers, key=row.key)
    await backend.send(topic, b'{"number": 3}', key=b"other")


async def check_outcome(backend: Backend, row: Row) -> None:
    topic, dead_letter_topic = await backend.topic(), await backend.topic()
    policy = {"max_attempts": 3, "then": "dead_letter", "dead_letter_topic": dead_letter_topic}
    config = backend.config(topic, on_error=policy, unmatched="dead_letter")
    await send_three(backend, topic, row)
    run = Run(config)
    async with backend.running(run.app):
        await committed_is(backend, config, topic, 3)
    dead_letters = await backend.values(dead_letter_topic)
    if row.decision == "handled":
        assert len(run.numbers) == 3
        assert (dead_letters, sorted(run.ended)) == ([], ["ok"] * 3)
        return
    assert run.numbers == [1, 3]
    assert "dead_lettered" in run.ended
    [(value, headers)] = dead_letters
    assert value == row.value
    assert {name: headers[name] for name, _ in row.headers} == dict(row.headers)
    assert headers["evkafka-dlq-offset"] == b"1"
