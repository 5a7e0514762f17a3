"""Stopping: within its time, without an exception, and leaving no task or connection behind."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.kafka.consumer.source import KafkaSource
from evkafka.records import TopicPartition
from tests.support.kafka_reader import Reader, consumer_settings
from tests.support.kafka_topics import MakeTopic, committed, produce
from tests.support.proxy import JOIN_GROUP, LEAVE_GROUP, Mode, Proxy
from tests.support.waiting import PATIENCE_S, SLACK_S, eventually

WHOLE_S = 60.0
"""More than a stop needs that waits for nobody: one that takes half of it has waited for somebody."""


def tasks() -> set[asyncio.Task[Any]]:
    """The tasks of aiokafka and of kafka/, found by the files of their code."""
    return {
        task
        for task in asyncio.all_tasks()
        if any(part in task.get_coro().cr_code.co_filename for part in ("aiokafka", "evkafka/kafka"))  # type: ignore[union-attr]
    }


async def timed_stop(reader: Reader, timeout_s: float) -> float:
    loop = asyncio.get_running_loop()
    await reader.pause()
    began = loop.time()
    await reader.source.stop(timeout_s=timeout_s)
    return loop.time() - began


async def started(servers: str, topic: str, group: str | None, **overrides: Any) -> Reader:
    reader = await Reader(consumer_settings(servers, topic, group, **overrides)).start()
    await eventually(lambda: reader.source.state() == "steady")
    return reader


AUTO_COMMIT = {"auto_commit_mode": "pre-commit", "auto_commit_interval_s": 0.1}


class TestWithBrokers:
    @pytest.mark.parametrize("overrides", [{}, AUTO_COMMIT], ids=["explicit", "auto commit"])
    async def test_leaves_the_group_and_nothing_behind(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, overrides: dict[str, Any]
    ) -> None:
        reader = await started(proxy.bootstrap_servers, await topic(), name, **overrides)

        took_s = await timed_stop(reader, WHOLE_S)

        assert took_s < WHOLE_S / 2
        assert LEAVE_GROUP in proxy.requests
        await eventually(lambda: not tasks() and not proxy._writers)

    async def test_commits_the_last_handed_out_records_in_pre_commit_mode(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        reader = await started(servers, orders, name, auto_commit_mode="pre-commit", auto_commit_interval_s=60.0)
        await produce(servers, orders)
        await eventually(lambda: len(reader.records) == 10)

        await timed_stop(reader, 3.0)

        assert await committed(servers, name, orders) == 10

    async def test_a_groupless_reader_leaves_nothing_behind(self, topic: MakeTopic, proxy: Proxy) -> None:
        reader = await started(proxy.bootstrap_servers, await topic(), None)

        assert await timed_stop(reader, WHOLE_S) < WHOLE_S / 2
        await eventually(lambda: not tasks() and not proxy._writers)

    async def test_a_second_stop_changes_nothing(self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str) -> None:
        reader = await started(kafka_broker.bootstrap_servers, await topic(), name)
        await timed_stop(reader, 3.0)

        assert await timed_stop(reader, WHOLE_S) < WHOLE_S / 2

    async def test_before_the_start(self) -> None:
        await KafkaSource(consumer_settings("localhost:1", "t", "g")).stop(timeout_s=1.0)


class TestWithoutBrokers:
    @pytest.mark.parametrize("mode", ["blackhole", "refuse"])
    @pytest.mark.parametrize("timeout_s", [2.0, 0.5])
    @pytest.mark.parametrize("overrides", [{}, AUTO_COMMIT], ids=["explicit", "auto commit"])
    async def test_ends_within_its_time_and_leaves_nothing_behind(
        self, topic: MakeTopic, proxy: Proxy, name: str, mode: Mode, timeout_s: float, overrides: dict[str, Any]
    ) -> None:
        orders = await topic()
        reader = await started(proxy.bootstrap_servers, orders, name, **overrides)
        await proxy.set(mode)
        polls = reader.polls
        await eventually(lambda: reader.polls > polls + 4)

        took_s = await timed_stop(reader, timeout_s)

        assert took_s <= timeout_s + SLACK_S
        await eventually(lambda: not tasks())

    async def test_while_a_commit_hangs(self, topic: MakeTopic, proxy: Proxy, name: str) -> None:
        orders = await topic()
        reader = await started(proxy.bootstrap_servers, orders, name)
        await proxy.set("blackhole")
        commit = asyncio.ensure_future(reader.source.commit({TopicPartition(orders, 0): 1}, timeout_s=1.0))

        assert await timed_stop(reader, 1.0) <= 1.0 + SLACK_S
        await asyncio.wait({commit})
        assert commit.exception() is not None
        await eventually(lambda: not tasks())


class TestDuringARebalance:
    async def test_of_a_join_that_does_not_end(self, topic: MakeTopic, proxy: Proxy, name: str) -> None:
        blocked = proxy.on(JOIN_GROUP, hold=True)
        reader = await Reader(consumer_settings(proxy.bootstrap_servers, await topic(), name)).start()
        await blocked.seen.wait()

        assert await timed_stop(reader, 1.0) <= 1.0 + SLACK_S
        await eventually(lambda: not tasks())

    async def test_of_a_revocation_that_does_not_end_lets_the_group_continue(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        first = await started(
            servers, orders, name, session_timeout_s=2 * PATIENCE_S, rebalance_timeout_s=2 * PATIENCE_S
        )
        revoking = asyncio.Event()

        async def never(_: Collection[TopicPartition]) -> None:
            revoking.set()
            await asyncio.Event().wait()

        first.listener.revoking = never
        second = await Reader(
            consumer_settings(
                servers, orders, name, session_timeout_s=2 * PATIENCE_S, rebalance_timeout_s=2 * PATIENCE_S
            )
        ).start()
        await revoking.wait()

        assert await timed_stop(first, 1.0) <= 1.0 + SLACK_S
        # It has left the group nevertheless: the other member does not wait for the end of a session.
        await eventually(lambda: len(second.source.assignment()) == 1)
        await timed_stop(second, 3.0)
        await eventually(lambda: not tasks())
