"""The page "The operations page", done as it says, but for the ports."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from tests.docs.pages import ROOT, blocks, file
from tests.docs.programs import Start
from tests.support.curl import curl
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

PAGE = "docs/operations.md"
TOKEN = "correct-horse"


@dataclass(frozen=True)
class Place:
    """A directory with the page's files; their app has a port and a topic of this test's."""

    directory: Path
    port: int
    topic: str

    def done(self, line: str) -> str:
        """A line of the page, for this app."""
        return line.replace("8080", str(self.port)).replace("orders", self.topic)


def commands() -> list[str]:
    return [line for block in blocks(PAGE) if block.language == "sh" for line in block.code.splitlines()]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
async def place(kafka_broker: KafkaBroker, topic: MakeTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    name = await topic()
    await topic(name=f"{name}.billing.dlq")
    made = Place(tmp_path, free_port(), name)
    app = file(PAGE, "shop.py").replace("localhost:9092", kafka_broker.bootstrap_servers)
    app = app.replace("web=True", f"web=True, web_port={made.port}").replace('["orders"]', f'["{name}"]')
    (tmp_path / "shop.py").write_text(app)
    (tmp_path / "main.py").write_text(file(PAGE, "main.py"))
    monkeypatch.setenv("EVKAFKA_UI_TOKEN", TOKEN)
    return made


@pytest.mark.kafka
async def test_its_app_is_paused_resumed_and_replayed_by_its_commands_and_the_log_is_kept(
    kafka_broker: KafkaBroker, place: Place, start: Start
) -> None:
    (place.directory / "kept.py").write_text(file(PAGE, "audit.py") + "from shop import app\n")
    [_, run, pause, resume, replay, _] = map(place.done, commands())
    service = start(run.replace("shop:app", "kept:app"), "service")
    await eventually(lambda: f"operations: http://127.0.0.1:{place.port}/ui" in service.printed)
    async with EVKafkaProducer({"bootstrap_servers": kafka_broker.bootstrap_servers, "topic": place.topic}) as producer:
        await producer.send_event({"currency": "CHF"}, "OrderPlaced")

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.port}", trust_env=False, timeout=240) as client:

        async def letters() -> Any:
            return (await client.get("/ui/api/letters")).json()["letters"]

        await eventually(letters)
        for line, done in ((pause, "paused"), (resume, "resumed")):
            assert await curl(line, {"EVKAFKA_UI_TOKEN": TOKEN}) == {"done": done}
        refused = await client.post("/ui/api/pause", json={})
        assert refused.status_code == 401
    dry = start(replay, "replay")
    assert await asyncio.to_thread(dry.process.wait, 60) == 0, dry.printed
    assert "1 dead letter would be tried" in dry.printed
    assert await asyncio.to_thread(service.terminate) == 0, service.printed

    [said] = [block.code.splitlines() for block in blocks(PAGE) if block.language == "text"]
    kept = [line.split(" ", 2)[2] for line in (place.directory / "audit.log").read_text().splitlines()]
    paused = place.done(said[0])
    assert kept == [paused, paused.replace("pause", "resume"), said[1]]


@pytest.mark.kafka
async def test_in_fastapi_it_asks_for_the_token_and_does_not_keep_the_server_from_stopping(place: Place) -> None:
    server = uvicorn_of(place)
    viewer = None
    try:
        url = f"http://127.0.0.1:{place.port}/kafka/"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=240, follow_redirects=True) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_ready)
            assert (await client.get("ui")).status_code == 401
            entered = await client.post("ui/enter", data={"token": TOKEN})
            assert (entered.status_code, entered.url.path) == (200, "/kafka/ui")
            seen = asyncio.Event()
            viewer = asyncio.ensure_future(_look(client, seen))
            await asyncio.wait_for(seen.wait(), 60)
            server.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait, 60)
            assert "Application shutdown complete" in (place.directory / "uvicorn.log").read_text()
    finally:
        server.kill()
        if viewer is not None:
            viewer.cancel()
            await asyncio.gather(viewer, return_exceptions=True)


def uvicorn_of(place: Place) -> subprocess.Popen[bytes]:
    program, *arguments = place.done(commands()[-1]).split()
    with (place.directory / "uvicorn.log").open("wb") as log:
        command = [sys.executable, "-m", program, *arguments]
        return subprocess.Popen(command, cwd=place.directory, stdout=log, stderr=log)


async def _look(client: httpx.AsyncClient, seen: asyncio.Event) -> None:
    """As a page does, until the stream ends; a server of others' waits for that when it is to stop."""
    async with client.stream("GET", "ui/api/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                seen.set()


def test_its_pictures_are_there() -> None:
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / PAGE).read_text())
    assert named
    assert all((ROOT / "docs" / picture).exists() for picture in named)
