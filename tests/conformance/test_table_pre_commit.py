"""The pre-commit column of the delivery table, on the client's interval and strictly, in every order."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.runtime.settle import StopApp
from tests.conformance.table import LANES, PRE_COMMIT, Row
from tests.conformance.table_run import SUBJECT, THIRD, Run, three_records
from tests.support.backends import Backend, MemoryBackend, all_hold, committed_is

FORMS: dict[str, dict[str, Any]] = {
    "on interval": {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 100},
    "strictly": {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0},
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("row", PRE_COMMIT, ids=lambda row: row.name)
async def test_a_record_that(row: Row, form: str, lanes: str) -> None:
    backend = MemoryBackend()
    async with backend.kafka:
        await holds(backend, row, form, lanes)


@pytest.mark.kafka
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("form", FORMS)
async def test_a_real_kafka_says_the_same(kafka_broker: KafkaBroker, form: str, lanes: str) -> None:
    servers = kafka_broker.bootstrap_servers
    await all_hold(servers, PRE_COMMIT, lambda backend, row: holds(backend, row, form, lanes))


async def holds(backend: Backend, row: Row, form: str, lanes: str) -> None:
    topic = await backend.topic()
    config = backend.config(topic, max_endpoint_exec_time_ms=100, **row.keys, **FORMS[form], **LANES[lanes])
    buried = await backend.topic(name=f"{topic}.{config['group_id']}.dlq")
    await three_records(backend, topic, row)
    run = Run(row, config)

    if row.end == "stop":
        with pytest.raises(StopApp):
            async with backend.running(run.app):
                await backend.until(lambda: run.stopped)
    else:
        async with backend.running(run.app):
            await backend.until(lambda: run.attempts[THIRD])
            await committed_is(backend, config, topic, 3)
    assert run.attempts[SUBJECT] == row.attempts  # at most once
    assert [value for value, _ in await backend.values(buried)] == ([row.value] if row.end == "dead" else [])
