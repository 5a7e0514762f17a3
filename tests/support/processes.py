"""Worker processes: tests start, kill and freeze them, and read their journal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import admin_of

ROOT = Path(__file__).parents[2]


def freeze_child(pid: int) -> None:
    """Stop a child process (SIGSTOP), and wait until all of its threads have stopped: they may answer until then."""
    os.kill(pid, signal.SIGSTOP)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"process {pid} has ended"


class Worker:
    """A process of tests/support/worker.py, or of another program that reads the same environment variables; workers
    may share a journal."""

    def __init__(self, journal: Path, configs: Sequence[Mapping[str, Any]], program: str = "worker") -> None:
        self.journal = journal
        self.log_path = journal.with_name(f"{journal.name}.{id(self):x}.log")
        environment = {
            **os.environ,
            "WORKER_JOURNAL": str(journal),
            "WORKER_CONFIGS": json.dumps(list(configs)),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"tests.support.{program}"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, signum: signal.Signals) -> None:
        os.kill(self.process.pid, signum)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def terminate(self, timeout_s: float = 60) -> int:
        """Send SIGTERM, wait, and return the exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)

    def end(self) -> None:
        """Kill the process if it still runs: it must not outlive its test."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()

    @property
    def log(self) -> str:
        return self.log_path.read_text()


def lines(journal: Path, what: str | None = None, pid: int | None = None) -> list[dict[str, Any]]:
    """The complete lines of the journal, in order.

    A write that crosses a page of the file is visible in halves while it is written, and stays half if its writer is
    killed in between. Every line starts with its own line break, so a half line damages no other line.
    """
    if not journal.exists():
        return []
    entries = [json.loads(line) for line in journal.read_text().split("\n") if line.endswith("}")]
    return [
        entry for entry in entries if (what is None or entry["what"] == what) and (pid is None or entry["pid"] == pid)
    ]


def ids(journal: Path, what: str = "done") -> list[Any]:
    return [entry["id"] for entry in lines(journal, what)]


def assigned(journal: Path, pid: int) -> set[int]:
    """The partitions that a process has."""
    found: set[int] = set()
    for line in lines(journal, pid=pid):
        match line["what"]:
            case "assigned":
                found |= set(line["partitions"])
            case "revoked" | "lost":
                found -= set(line["partitions"])
    return found


async def committed(bootstrap_servers: str, group_id: str, topic: str) -> dict[int, int]:
    """The group's committed offsets by partition."""
    async with admin_of(bootstrap_servers) as admin:
        offsets = await admin.list_consumer_group_offsets(group_id)
    return {
        tp.partition: meta.offset
        for tp, meta in offsets.items()
        if isinstance(tp, TopicPartition) and tp.topic == topic
    }


async def send_work(
    bootstrap_servers: str,
    topic: str,
    works: Sequence[Mapping[str, Any]],
    *,
    partition: int | None = None,
    event_type: str | None = "Work",
) -> None:
    """Send records to the workers, and wait for the confirmation. A work item may have its own `partition`."""
    headers = [("Event-Type", event_type.encode())] if event_type is not None else []
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all") as producer:
        for work in works:
            await producer.send(
                topic,
                json.dumps(dict(work)).encode(),
                headers=headers,
                partition=work.get("partition", partition),
            )
        await producer.flush()


@contextlib.asynccontextmanager
async def endless_work(
    bootstrap_servers: str, topic: str, *, partitions: int, takes_ms: float
) -> AsyncIterator[Counter[int]]:
    """Keep sending work to all partitions, about as fast as one worker does it, so that there is always some left.

    Yields the number of sent records by partition; after the exit it is final.
    """
    sent, over = Counter[int](), asyncio.Event()

    async def send() -> None:
        while not over.is_set():
            works = [
                {"id": f"{number}-{sent[number] + n}", "partition": number, "takes_ms": takes_ms}
                for n in range(10)
                for number in range(partitions)
            ]
            await send_work(bootstrap_servers, topic, works)
            sent.update(work["partition"] for work in works)  # type: ignore[arg-type]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 10 * partitions * takes_ms / 1000)

    sending = asyncio.ensure_future(send())
    try:
        yield sent
    finally:
        over.set()
        await sending


CLASSIC_TIMES = {"session_timeout_ms": 2000, "heartbeat_interval_ms": 500}
"""With the consumer protocol these are settings of the brokers."""

StartWorker = Callable[..., Worker]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def group_id() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def worker(kafka_broker: KafkaBroker, journal: Path, group_id: str) -> Iterator[StartWorker]:
    """Start workers: `worker(topic)`; keyword arguments override the configuration."""
    workers: list[Worker] = []

    def start(*topics: str, configs: list[dict[str, Any]] | None = None, **config: Any) -> Worker:
        defaults = {
            "topics": list(topics),
            "bootstrap_servers": kafka_broker.bootstrap_servers,
            "group_id": group_id,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 200,
            **({} if config.get("group_protocol") == "consumer" else CLASSIC_TIMES),
        }
        workers.append(Worker(journal, [{**defaults, **given} for given in (configs or [config])]))
        return workers[-1]

    yield start
    for one in workers:
        one.end()


@pytest.fixture
def confluent_worker(kafka_broker: KafkaBroker, journal: Path, group_id: str) -> Iterator[StartWorker]:
    """Start consumers of confluent-kafka: `confluent_worker(topic, "consumer")`; further arguments are its settings."""
    workers: list[Worker] = []

    def start(topic: str, group_protocol: str, **config: Any) -> Worker:
        defaults = {
            "topics": [topic],
            "bootstrap.servers": kafka_broker.bootstrap_servers,
            "group.id": group_id,
            "group.protocol": group_protocol,
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 200,
            **({} if group_protocol == "consumer" else {"session.timeout.ms": 2000, "heartbeat.interval.ms": 500}),
        }
        workers.append(Worker(journal, [{**defaults, **config}], "confluent_worker"))
        return workers[-1]

    yield start
    for one in workers:
        one.end()
