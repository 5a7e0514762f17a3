"""Several members of a group: joining, leaving, frozen; a broker restart. On a real Kafka."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.processes import StartWorker, committed, endless_work, ids, lines, send_work
from tests.support.waiting import eventually


class TestRebalance:
    async def test_with_records_in_flight_loses_and_repeats_no_record(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path, group_id: str
    ) -> None:
        name, servers = await topic(partitions=4), kafka_broker.bootstrap_servers
        async with endless_work(servers, name, partitions=4, takes_ms=5) as sent:
            first = worker(name)
            await eventually(lambda: len(ids(journal)) > 50)
            second = worker(name)
            await eventually(lambda: len(lines(journal, "done", second.pid)) > 50)
            assert await asyncio.to_thread(second.terminate) == 0
        await eventually(lambda: len(set(ids(journal))) == sent.total())
        assert first.terminate() == 0
        # Both rebalances drained and committed the records in flight, so none was repeated.
        assert len(ids(journal)) == sent.total()
        assert await committed(servers, group_id, name) == sent

    async def test_a_frozen_member_loses_no_record_and_moves_no_offset_back(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path, group_id: str
    ) -> None:
        name, servers = await topic(partitions=2), kafka_broker.bootstrap_servers
        async with endless_work(servers, name, partitions=2, takes_ms=5) as sent:
            frozen = worker(name)
            await eventually(lambda: len(ids(journal)) > 50)
            frozen.signal(signal.SIGSTOP)
            successor = worker(name)  # gets all partitions when the frozen member's session expires
            await eventually(lambda: len(lines(journal, "done", successor.pid)) > 200)
            frozen.signal(signal.SIGCONT)
        await eventually(lambda: len(set(ids(journal))) == sent.total())
        assert successor.terminate() == 0
        assert frozen.terminate() == 0
        assert await committed(servers, group_id, name) == sent

    @pytest.mark.parametrize("interval_ms", [200, 0])
    async def test_a_pre_commit_consumer_handles_every_record_once(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        worker: StartWorker,
        journal: Path,
        group_id: str,
        interval_ms: int,
    ) -> None:
        name = await topic(partitions=4)
        mode = {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": interval_ms, "max_poll_records": 200}
        async with endless_work(kafka_broker.bootstrap_servers, name, partitions=4, takes_ms=2) as sent:
            first = worker(name, **mode)
            await eventually(lambda: len(ids(journal)) > 50)
            second = worker(name, **mode)
            await eventually(lambda: len(lines(journal, "done", second.pid)) > 50)
            assert await asyncio.to_thread(second.terminate) == 0  # a clean stop
        await eventually(lambda: len(set(ids(journal))) == sent.total())
        assert first.terminate() == 0
        assert len(ids(journal)) == sent.total()  # at most once, and no received record was dropped


class TestBroker:
    @pytest.mark.long
    async def test_a_restart_under_load_loses_no_record(
        self, worker: StartWorker, topic: MakeTopic, journal: Path, group_id: str
    ) -> None:
        with KafkaBroker() as broker:
            name = await topic(partitions=2, brokers=broker.bootstrap_servers)
            works = [{"id": n, "partition": n % 2, "takes_ms": 3} for n in range(1000)]
            await send_work(broker.bootstrap_servers, name, works)
            process = worker(name, bootstrap_servers=broker.bootstrap_servers)
            await eventually(lambda: len(ids(journal)) > 100)
            broker.kill()
            broker.restart()
            await eventually(lambda: len(set(ids(journal))) == 1000)
            await eventually(
                lambda: _equals(broker.bootstrap_servers, group_id, name, {0: 500, 1: 500}), what="the last commit"
            )
            assert process.terminate() == 0

    @pytest.mark.long  # tests/docs/test_consumers.py is quick
    async def test_two_clusters_share_one_handler(
        self, kafka_broker: KafkaBroker, worker: StartWorker, topic: MakeTopic, journal: Path, group_id: str
    ) -> None:
        with KafkaBroker() as other:
            here = await topic()
            there = await topic(brokers=other.bootstrap_servers)
            await send_work(kafka_broker.bootstrap_servers, here, [{"id": f"here-{n}"} for n in range(20)])
            await send_work(other.bootstrap_servers, there, [{"id": f"there-{n}"} for n in range(20)])
            process = worker(
                configs=[
                    {"topics": [here]},
                    {"topics": [there], "bootstrap_servers": other.bootstrap_servers},
                ]
            )
            await eventually(lambda: len(set(ids(journal))) == 40)
            assert process.terminate() == 0
            assert await committed(kafka_broker.bootstrap_servers, group_id, here) == {0: 20}
            assert await committed(other.bootstrap_servers, group_id, there) == {0: 20}


async def _equals(servers: str, group_id: str, name: str, expected: dict[int, int]) -> bool:
    return await committed(servers, group_id, name) == expected
