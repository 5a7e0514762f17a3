"""Several members of a group: joining, leaving, frozen; a broker restart. On a real Kafka."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.processes import StartWorker, committed, ids, lines, send_work
from tests.support.waiting import eventually


def assigned(process: object) -> int:
    return getattr(process, "log", "").count("was assigned")


class TestRebalance:
    async def test_with_records_in_flight_loses_and_repeats_no_record(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path, group_id: str
    ) -> None:
        name = await topic(partitions=4)
        works = [{"id": n, "partition": n % 4, "takes_ms": 5} for n in range(1200)]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        first = worker(name)
        await eventually(lambda: len(ids(journal)) > 50)
        second = worker(name)
        await eventually(lambda: len(lines(journal, "done", second.pid)) > 50)
        assert second.terminate() == 0
        await eventually(lambda: len(set(ids(journal))) == 1200)
        assert first.terminate() == 0
        # Both rebalances drained and committed the records in flight, so none was repeated.
        assert len(ids(journal)) == 1200
        assert await committed(kafka_broker.bootstrap_servers, group_id, name) == dict.fromkeys(range(4), 300)

    async def test_a_frozen_member_loses_no_record_and_moves_no_offset_back(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path, group_id: str
    ) -> None:
        name = await topic(partitions=2)
        works = [{"id": n, "partition": n % 2, "takes_ms": 5} for n in range(800)]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        frozen = worker(name)
        await eventually(lambda: len(ids(journal)) > 50)
        frozen.signal(signal.SIGSTOP)
        successor = worker(name)  # gets all partitions when the frozen member's session expires
        await eventually(lambda: len(lines(journal, "done", successor.pid)) > 200)
        frozen.signal(signal.SIGCONT)
        await eventually(lambda: len(set(ids(journal))) == 800)
        assert successor.terminate() == 0
        assert frozen.terminate() == 0
        assert await committed(kafka_broker.bootstrap_servers, group_id, name) == {0: 400, 1: 400}

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
        works = [{"id": n, "partition": n % 4, "takes_ms": 2} for n in range(1600)]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        mode = {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": interval_ms, "max_poll_records": 200}
        first = worker(name, **mode)
        await eventually(lambda: len(ids(journal)) > 50)
        second = worker(name, **mode)
        await eventually(lambda: len(lines(journal, "done", second.pid)) > 50)
        assert second.terminate() == 0  # a clean stop
        await eventually(lambda: len(set(ids(journal))) == 1600)
        assert first.terminate() == 0
        assert len(ids(journal)) == 1600  # at most once, and no received record was dropped


class TestBroker:
    async def test_a_restart_under_load_loses_no_record(
        self, worker: StartWorker, topic: MakeTopic, journal: Path, group_id: str
    ) -> None:
        with KafkaBroker() as broker:
            name = await topic(partitions=2, brokers=broker.bootstrap_servers)
            works = [{"id": n, "partition": n % 2, "takes_ms": 3} for n in range(1500)]
            await send_work(broker.bootstrap_servers, name, works)
            process = worker(name, bootstrap_servers=broker.bootstrap_servers)
            await eventually(lambda: len(ids(journal)) > 100)
            broker.kill()
            broker.restart()
            await eventually(lambda: len(set(ids(journal))) == 1500)
            await eventually(
                lambda: _equals(broker.bootstrap_servers, group_id, name, {0: 750, 1: 750}), 30, what="the last commit"
            )
            assert process.terminate() == 0

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
