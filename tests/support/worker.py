"""An app that tests run as a process and kill; it writes what it does to a journal, line by line.

The record says what the endpoint does:
{"id": 7, "wait_for": path, "takes_ms": 50, "fail": path, "raise": "SystemExit", "exit": path}.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from evkafka import EVKafkaApp, Handler, Request
from evkafka.telemetry import PartitionsAssigned, PartitionsRevoked
from tests.support.worker_journal import note, note_partitions

handler = Handler()

ASSIGNORS = {"range": RangePartitionAssignor}
"""The configuration has an assignor's class; a worker's has its name."""


def exists(path: str) -> bool:
    return Path(path).exists()


@handler.event("Work")
async def on_work(work: dict[str, Any], request: Request) -> None:
    position = {
        "topic": request.topic,
        "partition": request.partition,
        "offset": request.offset,
        "id": work.get("id"),
        "group": request.context.consumer.group_id,
    }
    note("begun", **position, attempt=request.attempt)
    if gate := work.get("wait_for"):
        while not exists(gate):  # noqa: ASYNC110 - the test signals with a file
            await asyncio.sleep(0.01)
    if takes_ms := work.get("takes_ms"):
        await asyncio.sleep(takes_ms / 1000)
    if (fail := work.get("fail")) and exists(fail):
        raise ValueError(f"record {work.get('id')} fails while {fail} exists")
    if (path := work.get("exit")) and exists(path):
        os._exit(7)
    if name := work.get("raise"):
        raise getattr(builtins, name)
    note("done", **position)


def on_assigned(event: PartitionsAssigned) -> None:
    note_partitions("assigned", [tp.partition for tp in event.partitions])


def on_revoked(event: PartitionsRevoked) -> None:
    note_partitions("lost" if event.lost else "revoked", [tp.partition for tp in event.partitions])


def main() -> None:
    app = EVKafkaApp()
    for config in json.loads(os.environ["WORKER_CONFIGS"]):
        if name := config.pop("partition_assignment_strategy", None):
            config["partition_assignment_strategy"] = ASSIGNORS[name]
        app.add_consumer(config, handler)
    app.telemetry.listen(PartitionsAssigned, on_assigned)
    app.telemetry.listen(PartitionsRevoked, on_revoked)
    app.run()
    note("clean exit")


if __name__ == "__main__":
    sys.exit(main())
