"""KeyboardInterrupt, SystemExit and MemoryError end the process; they are never a record's failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic, read
from tests.support.processes import StartWorker, committed, ids, send_work


class TestAFatalException:
    @pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit", "MemoryError"])
    async def test_ends_the_process_with_1_without_a_commit_or_a_dead_letter(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        worker: StartWorker,
        journal: Path,
        group_id: str,
        kind: str,
    ) -> None:
        name = await topic()
        works = [{"id": 0}, {"id": 1, "raise": kind}, {"id": 2}]
        await send_work(kafka_broker.bootstrap_servers, name, works)
        process = worker(name, on_error={"max_attempts": 1, "then": "dead_letter"})
        assert process.process.wait(60) == 1, process.log
        assert f"{kind} while handling {name}[0]@1" in process.log
        assert (ids(journal, "begun"), ids(journal)) == ([0, 1], [0])
        assert await committed(kafka_broker.bootstrap_servers, group_id, name) == {0: 1}
        assert await read(kafka_broker.bootstrap_servers, f"{name}.{group_id}.dlq", 0) == []
