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
import time
from pathlib import Path
from typing import Any

from evkafka import EVKafkaApp, Handler, Request

handler = Handler()
journal = os.open(os.environ["WORKER_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what: str, **fields: Any) -> None:
    """Write one line with one system call: a killed process loses no earlier line."""
    entry = {"what": what, "pid": os.getpid(), "at_s": time.time(), **fields}
    os.write(journal, ("\n" + json.dumps(entry)).encode())


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


def main() -> None:
    app = EVKafkaApp()
    for config in json.loads(os.environ["WORKER_CONFIGS"]):
        app.add_consumer(config, handler)
    app.run()
    note("clean exit")


if __name__ == "__main__":
    sys.exit(main())
