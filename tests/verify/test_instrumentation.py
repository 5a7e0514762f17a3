"""What a run changes in the app that it verifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.testing.cluster_ids import declared_connections
from evkafka.verify.history import History
from evkafka.verify.instrumentation import instrument_app
from evkafka.verify.worker_task import WorkerTask


@pytest.mark.parametrize("own_broker", [True, False])
def test_an_app_connects_only_to_the_brokers_of_the_run_also_for_dead_letters(tmp_path: Path, own_broker: bool) -> None:
    app, handler = EVKafkaApp(), Handler()
    letters: Any = {"then": "dead_letter", "max_attempts": 1, "dead_letter_producer": {"bootstrap_servers": "other:1"}}

    @handler.event("OrderPlaced", on_error={"dead_letter_producer": {"bootstrap_servers": "another:1"}})
    async def on_order(value: bytes) -> None: ...

    app.add_consumer({"topics": ["orders"], "group_id": "g", "on_error": letters}, handler)
    app.add_producer({"bootstrap_servers": "prod.example:9092"}, Sender())
    task = WorkerTask("1.1", str(tmp_path / "journal"), "run", "run", "localhost:1", own_broker=own_broker)
    instrument_app(app, task, History(tmp_path / "journal", "1.1"))
    assert {one.bootstrap_servers for one in declared_connections(app)} == {("localhost:1",)}
