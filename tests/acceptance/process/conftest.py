"""Fixtures for tests that run the app as a process of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from tests.support.processes import Worker

StartWorker = Callable[..., Worker]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def group_id() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def worker(kafka_broker: KafkaBroker, journal: Path, group_id: str) -> Iterator[StartWorker]:
    """Starts workers: `worker(topic)`, with config keys laid over the suite's."""
    workers: list[Worker] = []

    def start(*topics: str, configs: list[dict[str, Any]] | None = None, **config: Any) -> Worker:
        defaults = {
            "topics": list(topics),
            "bootstrap_servers": kafka_broker.bootstrap_servers,
            "group_id": group_id,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 200,
            "session_timeout_ms": 2000,
            "heartbeat_interval_ms": 500,
        }
        workers.append(Worker(journal, [{**defaults, **given} for given in (configs or [config])]))
        return workers[-1]

    yield start
    for one in workers:
        one.end()
