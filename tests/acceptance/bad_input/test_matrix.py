"""The matrix of malformed records: for each the decision, commit, metrics, log and dead letter.

Each row is the second of three records. Whatever it is, the other two are handled; it is never lost, and it never ends
the consumer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.broker import KafkaBroker
from evkafka.telemetry import RecordsProcessed
from tests.acceptance.bad_input.rows import CANARY, ROWS, Order, Row
from tests.support.backends import Backend, MemoryBackend, check_all, committed_is


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
