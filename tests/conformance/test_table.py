"""Every row of the delivery table, post-commit, at concurrency 1 and in each order at concurrency 4."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.broker import KafkaBroker
from evkafka.runtime.settle import StopApp
from evkafka.telemetry import AttemptFailed
from tests.conformance.backends import Backend, MemoryBackend, all_hold
from tests.conformance.table import GOOD, LANES, QUICK, TABLE, Row
from tests.conformance.test_post_commit import Order, committed_is

FIRST, SUBJECT, THIRD = 0, 1, 2


class Run:
    """An app that does to the second of three records what the row says."""

    def __init__(self, row: Row, config: dict[str, Any]) -> None:
        self.attempts: Counter[int] = Counter()
        self.failed: list[AttemptFailed] = []
        handler = Handler()

        @handler.event("E")
        async def on_event(order: Order, request: Request) -> object:
            self.attempts[request.offset] += 1
            if request.offset != SUBJECT:
                return None
            result = row.act(request)
            return await result if inspect.isawaitable(result) else result

        self.app = EVKafkaApp()
        self.app.telemetry.listen(AttemptFailed, self.failed.append)
        self.app.add_consumer(config, handler)  # type: ignore[arg-type]

    @property
    def stopped(self) -> bool:
        return self.app.service is not None and self.app.service.failure is not None


async def three_records(backend: Backend, topic: str, row: Row) -> None:
    """The one in question has a key of its own, the others share one."""
    await backend.send(topic, GOOD, key=b"a")
    await backend.send(topic, row.value, row.event_type, key=b"b")
    await backend.send(topic, GOOD, key=b"a")


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_a_record_that(row: Row, lanes: str) -> None:
    backend = MemoryBackend()
    async with backend.kafka:
        await holds(backend, row, lanes)


@pytest.mark.kafka
@pytest.mark.parametrize("lanes", LANES)
async def test_a_real_kafka_says_the_same(kafka_broker: KafkaBroker, lanes: str) -> None:
    await all_hold(kafka_broker.bootstrap_servers, TABLE, lambda backend, row: holds(backend, row, lanes))


async def holds(backend: Backend, row: Row, lanes: str) -> None:
    topic, buried = await backend.topic(), await backend.topic()
    policy = {**QUICK, "dead_letter_topic": buried, **row.policy}
    config = backend.config(topic, on_error=policy, max_endpoint_exec_time_ms=100, **row.keys, **LANES[lanes])
    await three_records(backend, topic, row)
    run = Run(row, config)
    held_back = lanes in ("one", "by partition")

    match row.end:
        case "done" | "dead":
            async with backend.running(run.app):
                await committed_is(backend, config, topic, 3)
                await backend.until(lambda: run.attempts[SUBJECT] >= row.attempts)
                if row.end == "dead" and "retry_topics" in row.policy:  # its source is passed long before
                    await backend.until(lambda: backend.values(buried))
            assert run.attempts == {o: n for o, n in ((FIRST, 1), (SUBJECT, row.attempts), (THIRD, 1)) if n}
        case "stop":
            with pytest.raises(StopApp):
                async with backend.running(run.app):
                    await backend.until(lambda: run.stopped)
            assert await backend.committed(config, topic) == SUBJECT
            assert run.attempts[SUBJECT] == row.attempts
        case "waits":
            async with backend.running(run.app):
                await backend.until(lambda: len(run.failed) >= 3)
                await backend.until(lambda: held_back or run.attempts[THIRD])
                await committed_is(backend, config, topic, SUBJECT)
            assert await backend.committed(config, topic) == SUBJECT
            assert run.attempts[THIRD] == (0 if held_back else 1)

    dead = await backend.values(buried)
    assert [value for value, _ in dead] == ([row.value] if row.end == "dead" else [])
    if row.end == "dead":
        [(_, headers)] = dead
        assert headers["evkafka-dlq-attempts"] == str(max(row.attempts, 1)).encode()
        assert headers["evkafka-dlq-offset"] == b"1"
