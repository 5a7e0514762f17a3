"""A worker process of a run: it runs the built-in app, or a given one.

    python -m evkafka.verify.worker JSON

The JSON is a `WorkerTask`. The built-in app records attempts in its endpoint, so that records take the way without
middleware. A given app gets one more middleware, the outermost one, and is otherwise unchanged.
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
from evkafka.sender import Sender
from evkafka.service.process import exit_with_code, run_to_exit_code
from evkafka.verify.history import History
from evkafka.verify.instrumentation import instrument_app
from evkafka.verify.task_canceller import TaskCanceller
from evkafka.verify.worker_task import WorkerTask


def main(argument: str) -> None:
    task = WorkerTask(**json.loads(argument))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(name)s  %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    history = History(Path(task.history), task.who)
    app = create_built_in_app(task, history) if task.app is None else load_app(task, history)
    settings = next(iter(app.consumers.values())).settings
    canceller = TaskCanceller(history, task.who)
    canceller.install_signal_handler()
    history.write_entry(
        "up",
        in_order=settings.ordering != "unordered" or settings.concurrency == 1,
        session_s=settings.session_timeout_s,
        drain_s=settings.revoke_drain_timeout_s,
        group_protocol=settings.group_protocol,
    )
    try:
        run_app(app, canceller)
    finally:
        history.write_entry("down")


def run_app(app: EVKafkaApp, canceller: TaskCanceller) -> None:
    """Does the same as `app.run`, with a task canceller in the loop."""

    async def serve() -> None:
        canceller.set_main_task(lambda: app.status().phase == "running")
        await app.serve()

    guard = app.start_process_stop_guard()
    exit_with_code(run_to_exit_code(serve, guard=guard), guard)


def create_built_in_app(task: WorkerTask, history: History) -> EVKafkaApp:
    """An app with one endpoint, which takes some time and records its attempts. With an output topic it writes one
    record for each that it handles."""
    handler, sender = Handler(), Sender()
    work_s = task.work_ms / 1000

    @sender.event("Output", topic=task.output_topic)
    async def write_output(source: dict[str, int]) -> None: ...

    @handler.event(task.event_type)
    async def on_record(payload: dict[str, Any], request: Request) -> None:
        partition, offset, key = request.partition, request.offset, (request.key or b"").decode()
        history.write_entry("begin", partition, offset, key)
        try:
            await asyncio.sleep(work_s)
        except asyncio.CancelledError:
            history.write_entry("cut", partition, offset, key)
            raise
        if task.output_topic is not None:
            await write_output({"partition": partition, "offset": offset}, key=key)
        history.write_entry("end", partition, offset, key)

    config: Any = {
        "topics": [task.topic],
        "bootstrap_servers": task.bootstrap_servers,
        "group_id": task.group_id,
        "auto_offset_reset": "earliest",
        **task.config,
    }
    app = EVKafkaApp(title="evkafka verify")
    app.add_consumer(config, handler, "verify")
    if task.output_topic is not None:
        app.add_producer({"bootstrap_servers": task.bootstrap_servers}, sender, "outputs")
    return app


def load_app(task: WorkerTask, history: History) -> EVKafkaApp:
    """Import the named app. The command line has already checked that it exists."""
    assert task.app is not None
    sys.path.insert(0, task.app_dir)
    module, _, path = task.app.partition(":")
    app: Any = importlib.import_module(module)
    for name in path.split("."):
        app = getattr(app, name)
    assert isinstance(app, EVKafkaApp)
    instrument_app(app, task, history)
    return app


if __name__ == "__main__":
    main(sys.argv[1])
