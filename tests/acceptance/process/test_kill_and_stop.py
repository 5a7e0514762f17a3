"""The app in its own process: killed and stopped. On a real Kafka."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.processes import StartWorker, committed, ids, lines, send_work
from tests.support.waiting import eventually


class TestKill:
    async def test_a_record_whose_handler_was_killed_is_handled_again(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path, tmp_path: Path
    ) -> None:
        name, gate = await topic(), tmp_path / "gate"
        await send_work(kafka_broker.bootstrap_servers, name, [{"id": 0}, {"id": 1, "wait_for": str(gate)}, {"id": 2}])
        first = worker(name)
        await eventually(lambda: 1 in ids(journal, "begun"))
        first.kill()
        gate.touch()
        worker(name)
        await eventually(lambda: 2 in ids(journal))
        assert Counter(ids(journal))[1] == 1
        assert ids(journal, "begun").count(1) == 2

    async def test_nothing_is_lost_through_three_kills_under_load(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path
    ) -> None:
        name = await topic(partitions=4)
        works = [{"id": n, "partition": n % 4, "takes_ms": 2} for n in range(1000)]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        for target in (100, 300, 500):
            process = worker(name)
            await eventually(lambda target=target: len(set(ids(journal))) >= target)  # type: ignore[misc]
            process.kill()
        last = worker(name)
        await eventually(lambda: len(set(ids(journal))) == 1000)
        assert last.terminate() == 0

    async def test_records_of_a_partition_are_handled_in_order(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path
    ) -> None:
        name = await topic(partitions=2)
        await send_work(kafka_broker.bootstrap_servers, name, [{"id": n, "partition": n % 2} for n in range(500)])
        process = worker(name)
        await eventually(lambda: len(ids(journal)) == 500)
        assert process.terminate() == 0
        for partition in (0, 1):
            offsets = [entry["offset"] for entry in lines(journal, "done") if entry["partition"] == partition]
            assert offsets == sorted(offsets)


class TestStop:
    async def test_sigterm_lets_the_record_in_flight_finish_and_commits_it(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        worker: StartWorker,
        journal: Path,
        group_id: str,
        tmp_path: Path,
    ) -> None:
        name, gate = await topic(), tmp_path / "gate"
        await send_work(kafka_broker.bootstrap_servers, name, [{"id": 0, "wait_for": str(gate)}, {"id": 1}])
        process = worker(name)
        await eventually(lambda: ids(journal, "begun") == [0])
        process.process.terminate()
        await eventually(lambda: "stopping" in process.log)
        gate.touch()
        assert process.process.wait(60) == 0
        assert ids(journal) == [0]
        assert await committed(kafka_broker.bootstrap_servers, group_id, name) == {0: 1}

    async def test_the_committed_offsets_are_those_of_the_finished_records(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path, group_id: str
    ) -> None:
        name = await topic(partitions=3)
        works = [{"id": n, "partition": n % 3, "takes_ms": 5} for n in range(600)]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        process = worker(name, auto_commit_interval_ms=60_000)
        await eventually(lambda: len(ids(journal)) > 50)
        assert process.terminate() == 0
        done = Counter(entry["partition"] for entry in lines(journal, "done"))
        at = await committed(kafka_broker.bootstrap_servers, group_id, name)
        assert {p: o for p, o in at.items() if o > 0} == dict(done)

    async def test_a_handler_that_outlasts_the_drain_time_is_cancelled_and_changes_the_exit_code(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        worker: StartWorker,
        journal: Path,
        group_id: str,
        tmp_path: Path,
    ) -> None:
        name = await topic()
        works = [{"id": 0}, {"id": 1, "wait_for": str(tmp_path / "never")}]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        process = worker(name, drain_timeout_ms=300)
        await eventually(lambda: 1 in ids(journal, "begun"))
        assert process.terminate() == 128 + signal.SIGTERM
        assert ids(journal) == [0]
        assert await committed(kafka_broker.bootstrap_servers, group_id, name) == {0: 1}

    async def test_a_second_signal_ends_the_process_at_once(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, worker: StartWorker, journal: Path, tmp_path: Path
    ) -> None:
        name = await topic()
        await send_work(kafka_broker.bootstrap_servers, name, [{"id": 0, "wait_for": str(tmp_path / "never")}])
        process = worker(name)
        await eventually(lambda: ids(journal, "begun") == [0])
        process.process.terminate()
        await eventually(lambda: "stopping" in process.log)
        process.signal(signal.SIGINT)
        assert process.process.wait(60) == 128 + signal.SIGINT


class TestFailingRecord:
    async def test_blocks_only_its_own_partition_and_is_not_committed(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        worker: StartWorker,
        journal: Path,
        group_id: str,
        tmp_path: Path,
    ) -> None:
        name, broken = await topic(partitions=4), tmp_path / "broken"
        broken.touch()
        works = [{"id": n, "partition": n % 4} for n in range(400)]
        works[101]["fail"] = str(broken)  # type: ignore[assignment]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        process = worker(name, on_error={"backoff_ms": 50, "max_backoff_ms": 200})
        await eventually(lambda: len(ids(journal)) == 300 + 25)
        await eventually(lambda: ids(journal, "begun").count(101) >= 3)

        async def caught_up() -> bool:
            at = await committed(kafka_broker.bootstrap_servers, group_id, name)
            return at == {0: 100, 1: 25, 2: 100, 3: 100}

        await eventually(caught_up)
        broken.unlink()
        await eventually(lambda: len(set(ids(journal))) == 400)
        assert process.terminate() == 0
        assert await committed(kafka_broker.bootstrap_servers, group_id, name) == dict.fromkeys(range(4), 100)
