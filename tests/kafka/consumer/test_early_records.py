"""Fetched records are handed out only when the listener has taken over their assignment; a lookup error is raised."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.broker import KafkaBroker
from evkafka.kafka.consumer.classic_coordinator import ClassicCoordinator
from evkafka.records import TopicPartition
from tests.support.kafka_reader import Read, Reader, consumer_settings
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.waiting import eventually


async def test_no_record_is_handed_out_before_the_listener_has_its_partition(
    kafka_broker: KafkaBroker, topic: MakeTopic, name: str
) -> None:
    orders, go_on = await topic(), asyncio.Event()
    await produce(kafka_broker.bootstrap_servers, orders, 3)

    async def assigning(_: Collection[TopicPartition]) -> None:
        await go_on.wait()

    reader = Reader(consumer_settings(kafka_broker.bootstrap_servers, orders, name))
    reader.listener.assigning = assigning
    await reader.start()
    await eventually(lambda: reader.listener.assigned)
    await eventually(lambda: bool(reader.source._started_consumer().fetcher._records))  # aiokafka has fetched them
    polls = reader.polls
    await eventually(lambda: reader.polls > polls + 3)
    assert reader.records == []
    go_on.set()
    await eventually(lambda: reader.offsets() == [0, 1, 2])
    await reader.stop()


async def test_an_error_of_one_partition_in_the_offset_lookup_is_raised(
    kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await read(kafka_broker.bootstrap_servers, await topic(), name)
    await eventually(lambda: reader.source.state() == "steady")
    member: Any = reader.source._started_consumer().coordinator
    assert isinstance(member, ClassicCoordinator)

    async def answer(request: Any) -> Any:
        return SimpleNamespace(error_code=0, topics=[("orders", [(0, -1, -1, "", 29)])])

    with monkeypatch.context() as patched:
        patched.setattr(member, "_send_req", answer)
        with pytest.raises(kafka.TopicAuthorizationFailedError):
            await member.look_up_committed_offsets([ClientPartition("orders", 0)])
