"""The pre-commit column of the delivery table, with both commit intervals and in every ordering."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import StopApp
from tests.conformance.protocols import ON_A_REAL_KAFKA
from tests.conformance.table import LANES, PRE_COMMIT, Row
from tests.conformance.table_run import SUBJECT, THIRD, Run, send_three
from tests.support.backends import Backend, GroupProtocol, MemoryBackend, check_all, committed_is

FORMS: dict[str, dict[str, Any]] = {
    "on interval": {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 100},
    "strictly": {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0},
}


@pytest.mark.parametrize("group_protocol", ["classic", "consumer"])
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("row", PRE_COMMIT, ids=lambda row: row.name)
async def test_the_outcome_of_a_record_that(row: Row, form: str, lanes: str, group_protocol: GroupProtocol) -> None:
    backend = MemoryBackend(group_protocol)
    async with backend.kafka:
        await check_row(backend, row, form, lanes)


@pytest.mark.kafka
@pytest.mark.parametrize("group_protocol", ON_A_REAL_KAFKA)
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("form", FORMS)
async def test_all_outcomes_on_a_real_kafka(
    kafka_broker: KafkaBroker, form: str, lanes: str, group_protocol: GroupProtocol
) -> None:
    await check_all(
        kafka_broker.bootstrap_servers,
        PRE_COMMIT,
        lambda backend, row: check_row(backend, row, form, lanes),
        group_protocol=group_protocol,
    )


async def check_row(backend: Backend, row: Row, form: str, lanes: str) -> None:
    topic = await backend.topic()
    config = backend.config(topic, max_endpoint_exec_time_ms=100, **row.keys, **FORMS[form], **LANES[lanes])
    dead_letter_topic = await backend.topic(name=f"{topic}.{config['group_id']}.dlq")
    await send_three(backend, topic, row)
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
    assert [value for value, _ in await backend.values(dead_letter_topic)] == ([row.value] if row.end == "dead" else [])
