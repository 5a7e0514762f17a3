"""A cancelled task of aiokafka is reported by the poll, and does not count as a failure of the cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerError
from evkafka.kafka.consumer.source_consumer import SourceConsumer
from evkafka.runtime.supervision.restart_policy import RestartPolicy
from evkafka.runtime.supervision.tasks import TaskEnded
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually


def coordination(consumer: SourceConsumer) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = consumer.coordinator._coordination_task
    return task


def fetching(consumer: SourceConsumer) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = consumer.fetcher._fetch_task
    return task


def metadata(consumer: SourceConsumer) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = consumer.client._sync_task
    return task


@pytest.mark.parametrize("find", [coordination, fetching, metadata])
async def test_a_cancelled_task_is_named_by_the_poll_and_always_allows_a_restart(
    kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, find: Any
) -> None:
    reader = await read(kafka_broker.bootstrap_servers, await topic(), name)
    await eventually(lambda: reader.source.state() == "steady")
    find(reader.source._started_consumer()).cancel()
    await eventually(lambda: reader.errors)
    [error] = reader.errors
    assert isinstance(error, TaskEnded)
    assert "was cancelled by code outside EVKafka" in str(error)
    rule = RestartPolicy(lambda: 0.0)
    assert all(rule.advance_backoff_s(error) is not None for _ in range(100))


async def test_a_failed_task_is_an_error_of_the_client(
    kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await read(kafka_broker.bootstrap_servers, await topic(), name)
    await eventually(lambda: reader.source.state() == "steady")

    async def ended() -> None:
        raise RuntimeError("a fault of the client's own")

    task = asyncio.ensure_future(ended())
    await asyncio.wait({task})
    with monkeypatch.context() as patched:
        patched.setattr(reader.source._started_consumer().fetcher, "_fetch_task", task)
        await eventually(lambda: reader.errors)
    [error] = reader.errors
    assert isinstance(error, BrokerError)
    assert "the client's fetch task has ended unexpectedly" in str(error)
