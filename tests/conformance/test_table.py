"""Every row of the delivery table, post-commit, at concurrency 1 and with each ordering at concurrency 4."""

from __future__ import annotations

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import StopApp
from tests.conformance.protocols import ON_A_REAL_KAFKA
from tests.conformance.table import LANES, QUICK, TABLE, Row
from tests.conformance.table_run import FIRST, SUBJECT, THIRD, Run, send_three
from tests.support.backends import Backend, GroupProtocol, MemoryBackend, check_all, committed_is


@pytest.mark.parametrize("group_protocol", ["classic", "consumer"])
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_the_outcome_of_a_record_that(row: Row, lanes: str, group_protocol: GroupProtocol) -> None:
    backend = MemoryBackend(group_protocol)
    async with backend.kafka:
        await check_row(backend, row, lanes)


@pytest.mark.kafka
@pytest.mark.parametrize("group_protocol", ON_A_REAL_KAFKA)
@pytest.mark.parametrize(
    "lanes",
    [pytest.param(lanes, marks=pytest.mark.long if lanes in ("by partition", "unordered") else ()) for lanes in LANES],
)
async def test_all_outcomes_on_a_real_kafka(
    kafka_broker: KafkaBroker, lanes: str, group_protocol: GroupProtocol
) -> None:
    await check_all(
        kafka_broker.bootstrap_servers,
        TABLE,
        lambda backend, row: check_row(backend, row, lanes),
        group_protocol=group_protocol,
    )


async def check_row(backend: Backend, row: Row, lanes: str) -> None:
    topic, dead_letter_topic = await backend.topic(), await backend.topic()
    policy = {**QUICK, "dead_letter_topic": dead_letter_topic, **row.policy}
    config = backend.config(topic, on_error=policy, max_endpoint_exec_time_ms=100, **row.keys, **LANES[lanes])
    await send_three(backend, topic, row)
    run = Run(row, config)
    held_back = lanes in ("one", "by partition")

    match row.end:
        case "done" | "dead":
            async with backend.running(run.app):
                await committed_is(backend, config, topic, 3)
                await backend.until(lambda: run.attempts[SUBJECT] >= row.attempts)
                if row.end == "dead" and "retry_topics" in row.policy:  # its source record was committed long before
                    await backend.until(lambda: backend.values(dead_letter_topic))
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

    dead = await backend.values(dead_letter_topic)
    assert [value for value, _ in dead] == ([row.value] if row.end == "dead" else [])
    if row.end == "dead":
        [(_, headers)] = dead
        assert headers["evkafka-dlq-attempts"] == str(max(row.attempts, 1)).encode()
        assert headers["evkafka-dlq-offset"] == b"1"
