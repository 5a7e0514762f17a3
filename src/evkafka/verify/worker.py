"""One process of a run: the built-in app, or the given one with a journal around it.

    python -m evkafka.verify.worker JSON

The JSON is a `Task`. The built-in app journals in its endpoint, so that what is proved is the plain way of a record; a
given app gets one middleware more, outermost, and is otherwise run as it stands.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from evkafka.app import EVKafkaApp
from evkafka.context import Request
from evkafka.handler import Handler
from evkafka.service.process import leave, run_to_exit_code
from evkafka.verify.history import History
from evkafka.verify.instrumentation import instrument
from evkafka.verify.task_canceller import TaskCanceller
from evkafka.verify.worker_task import Task


def main(argument: str) -> None:
    task = Task(**json.loads(argument))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(name)s  %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    journal = History(Path(task.journal), task.who)
    app = built_in(task, journal) if task.app is None else given(task, journal)
    settings = next(iter(app.consumers.values())).settings
    stranger = TaskCanceller(journal, task.who)
    stranger.listen()
    journal.note(
        "up",
        in_order=settings.ordering != "unordered" or settings.concurrency == 1,
        session_s=settings.session_timeout_s,
        drain_s=settings.revoke_drain_timeout_s,
    )
    try:
        run(app, stranger)
    finally:
        journal.note("down")


def run(app: EVKafkaApp, stranger: TaskCanceller) -> None:
    """As `app.run` does, with a stranger in the loop."""

    async def serve() -> None:
        stranger.enter()
        await app.serve()

    guard = app.take_process()
    leave(run_to_exit_code(serve, guard=guard), guard)


def built_in(task: Task, journal: History) -> EVKafkaApp:
    """An app with one endpoint, which takes its time and notes what it does."""
    handler = Handler()
    work_s = task.work_ms / 1000

    @handler.event(task.event_type)
    async def on_record(payload: dict[str, Any], request: Request) -> None:
        partition, offset, key = request.partition, request.offset, (request.key or b"").decode()
        journal.note("begin", partition, offset, key)
        try:
            await asyncio.sleep(work_s)
        except asyncio.CancelledError:
            journal.note("cut", partition, offset, key)
            raise
        journal.note("end", partition, offset, key)

    app = EVKafkaApp(title="evkafka verify")
    app.add_consumer(
        {
            "topics": [task.topic],
            "bootstrap_servers": task.bootstrap_servers,
            "group_id": task.group_id,
            "auto_offset_reset": "earliest",
            **task.config,  # type: ignore[typeddict-item]  # checked by add_consumer
        },
        handler,
        "verify",
    )
    return app


def given(task: Task, journal: History) -> EVKafkaApp:
    """The app that was named: the command line has found out already that it is there."""
    assert task.app is not None
    sys.path.insert(0, task.app_dir)
    module, _, path = task.app.partition(":")
    app: Any = importlib.import_module(module)
    for name in path.split("."):
        app = getattr(app, name)
    assert isinstance(app, EVKafkaApp)
    instrument(app, task, journal)
    return app


if __name__ == "__main__":
    main(sys.argv[1])
