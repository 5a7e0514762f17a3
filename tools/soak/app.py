"""The app under load: its records have every outcome, and it writes a sample of its process every few seconds.

    python -m tools.soak.app BOOTSTRAP_SERVERS SAMPLES_FILE

A record's `outcome` says what its endpoint does. EVKAFKA_SOAK_LEAK=1 makes the app leak, to check the judge.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evkafka import ConsumerConfig, DeadLetter, EVKafkaApp, Handler, Request, Sender

TOPIC, OUT, GROUP, DELAY_MS = "soak", "soak-out", "soak", 1_000
SAMPLE_EVERY_S = 5.0

CONSUMER: ConsumerConfig = {
    "topics": [TOPIC],
    "group_id": GROUP,
    "auto_offset_reset": "earliest",
    "concurrency": 16,
    "auto_commit_interval_ms": 500,
    "session_timeout_ms": 6000,
    "heartbeat_interval_ms": 1000,
    "on_error": {
        "max_attempts": 2,
        "backoff_ms": 50,
        "retry_topics": [DELAY_MS],
        "then": "dead_letter",
        "dead_letter_limit": None,
    },
}


class Work(BaseModel):
    number: int
    outcome: str
    padding: str = ""


def measure_process() -> dict[str, float]:
    """Measure this process. Garbage is collected first, because it is no leak."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "blocks": sys.getallocatedblocks(),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


async def _write_samples(file: Path, app: EVKafkaApp) -> None:
    while True:
        await asyncio.sleep(SAMPLE_EVERY_S)
        await asyncio.to_thread(_scrape, f"{app.web_url}metrics")
        with file.open("a") as lines:
            lines.write(json.dumps(measure_process()) + "\n")


def _scrape(url: str) -> None:
    """Read the metrics as Prometheus does, because scraping must not leak either."""
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  # nosec B310 # our own address
        response.read()


def make_app(servers: str, file: Path, *, leaks: bool = False) -> EVKafkaApp:
    handler, sender, leaked = Handler(), Sender(), list[object]()

    @sender.event("Done", key_field="number")
    async def send_done(work: Work) -> None: ...

    @handler.event("Work")
    async def on_work(work: Work, request: Request) -> object:
        """Send an event, fail once, fail always, or return `DeadLetter`."""
        if leaks:
            leaked.append((request, bytearray(500)))
        if work.outcome == "fails" or (work.outcome == "fails once" and request.attempt == 1):
            raise ConnectionError("requested by the record")
        if work.outcome == "dead letter":
            return DeadLetter("requested by the record")
        await send_done(work)
        return None

    @handler.event("Counted")
    def on_counted(work: Work) -> int:
        """A plain function, which runs in a thread."""
        return sum(range(work.number % 1000))

    @handler.event("Batched", batch=True, max_records=50, max_wait_ms=100)
    async def on_batch(works: list[Work]) -> None:
        await asyncio.sleep(0.001)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, Any]]:
        sampling = asyncio.create_task(_write_samples(file, app))
        yield {}
        sampling.cancel()

    app = EVKafkaApp(title="Soak", lifespan=lifespan, web=True, web_port=0)
    app.add_consumer({**CONSUMER, "bootstrap_servers": servers}, handler)
    app.add_producer({"bootstrap_servers": servers, "topic": OUT}, sender)
    return app


if __name__ == "__main__":
    make_app(sys.argv[1], Path(sys.argv[2]), leaks=os.environ.get("EVKAFKA_SOAK_LEAK") == "1").run()
