"""Faults of the process itself: a handler that exits it, no file descriptors left."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.processes import StartWorker, committed, group_id, ids, journal, lines, send_work, worker
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import eventually

__all__ = ["group_id", "journal", "proxy", "worker"]


class TestAHandlerThatExitsTheProcess:
    async def test_gets_its_record_again_in_the_next_process(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        worker: StartWorker,
        journal: Path,
        group_id: str,
        tmp_path: Path,
    ) -> None:
        name, bad = await topic(), tmp_path / "bad"
        bad.touch()
        await send_work(kafka_broker.bootstrap_servers, name, [{"id": 0}, {"id": 1, "exit": str(bad)}, {"id": 2}])
        first = worker(name)
        assert first.process.wait(60) == 7
        bad.unlink()
        second = worker(name)
        await eventually(lambda: 2 in ids(journal))
        assert second.terminate() == 0
        assert [line["id"] for line in lines(journal, "done", second.pid)][-2:] == [1, 2]
        assert ids(journal).count(1) == 1
        assert await committed(kafka_broker.bootstrap_servers, group_id, name) == {0: 3}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets another process's limits")
class TestFileDescriptors:
    async def test_the_app_waits_until_descriptors_are_available(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        worker: StartWorker,
        journal: Path,
        group_id: str,
        proxy: Proxy,
    ) -> None:
        servers, name = kafka_broker.bootstrap_servers, await topic()
        await send_work(servers, name, [{"id": n} for n in range(10)])
        process = worker(name, bootstrap_servers=proxy.bootstrap_servers)
        await eventually(lambda: len(ids(journal)) == 10)
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        proxy.disconnect()
        await send_work(servers, name, [{"id": n} for n in range(10, 20)])
        await eventually(lambda: "Too many open files" in process.log)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        await eventually(lambda: len(set(ids(journal))) == 20)
        assert await asyncio.to_thread(process.terminate) == 0  # in a thread, because the proxy runs in this loop
        assert await committed(servers, group_id, name) == {0: 20}
