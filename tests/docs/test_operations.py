"""The page "The dashboard": its commands, with other ports."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from evkafka.broker import KafkaBroker
from tests.docs.programs import Start
from tests.support.curl import curl
from tests.support.doc_pages import ROOT, blocks, file
from tests.support.kafka_topics import MakeTopic
from tests.support.ports import free_port
from tests.support.waiting import eventually

PAGE = "docs/operations.md"
TOKEN = "correct-horse"


@dataclass(frozen=True)
class ExampleApp:
    """A directory with the page's files; their app uses the port and the topic of this test."""

    directory: Path
    port: int
    topic: str

    def adapt(self, line: str) -> str:
        """Replace port and topic in a line of the page."""
        return line.replace("8080", str(self.port)).replace("orders", self.topic)


def commands() -> list[str]:
    return [line for block in blocks(PAGE) if block.language == "sh" for line in block.code.splitlines()]


@pytest.fixture
async def app(
    kafka_broker: KafkaBroker, topic: MakeTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ExampleApp:
    name = await topic()
    await topic(name=f"{name}.billing.dlq")
    example = ExampleApp(tmp_path, free_port(), name)
    program = file(PAGE, "shop.py").replace("localhost:9092", kafka_broker.bootstrap_servers)
    program = program.replace("web=True", f"web=True, web_port={example.port}").replace('["orders"]', f'["{name}"]')
    (tmp_path / "shop.py").write_text(program)
    (tmp_path / "main.py").write_text(file(PAGE, "main.py"))
    monkeypatch.setenv("EVKAFKA_UI_TOKEN", TOKEN)
    return example


@pytest.mark.kafka
async def test_its_commands_pause_resume_and_replay_and_are_audited(app: ExampleApp, start: Start) -> None:
    (app.directory / "audit.py").write_text(file(PAGE, "audit.py"))
    shop = app.directory / "shop.py"
    shop.write_text("import audit\n" + shop.read_text())
    [_, run, first, second, pause, resume, replay, _] = map(app.adapt, commands())
    service = start(run, "service")
    await eventually(lambda: f"dashboard: http://127.0.0.1:{app.port}/ui" in service.printed)
    for number, send in enumerate((first, second)):
        sent = start(send, f"send-{number}")
        assert await asyncio.to_thread(sent.process.wait, 60) == 0, sent.printed

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{app.port}", trust_env=False, timeout=240) as client:

        async def dead_letters() -> Any:
            return (await client.get("/ui/api/letters")).json()["letters"]

        await eventually(dead_letters)
        for line, done in ((pause, "paused"), (resume, "resumed")):
            assert await curl(line, {"EVKAFKA_UI_TOKEN": TOKEN}) == {"done": done}
        refused = await client.post("/ui/api/pause", json={})
        assert refused.status_code == 401
    dry = start(replay, "replay")
    assert await asyncio.to_thread(dry.process.wait, 60) == 0, dry.printed
    assert "1 dead letter would be tried" in dry.printed
    assert await asyncio.to_thread(service.terminate) == 0, service.printed

    [expected] = [block.code.splitlines() for block in blocks(PAGE) if block.language == "text"]
    audit_lines = [line.split(" ", 2)[2] for line in (app.directory / "audit.log").read_text().splitlines()]
    paused = app.adapt(expected[0])
    assert audit_lines == [paused, paused.replace("pause", "resume"), expected[1]]


@pytest.mark.kafka
async def test_in_fastapi_it_requires_the_token_and_does_not_block_the_stop_of_the_server(app: ExampleApp) -> None:
    server = start_uvicorn(app)
    viewer = None
    try:
        url = f"http://127.0.0.1:{app.port}/kafka/"
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
            viewer = asyncio.ensure_future(_watch(client, seen))
            await asyncio.wait_for(seen.wait(), 60)
            server.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait, 60)
            assert "Application shutdown complete" in (app.directory / "uvicorn.log").read_text()
    finally:
        server.kill()
        if viewer is not None:
            viewer.cancel()
            await asyncio.gather(viewer, return_exceptions=True)


def start_uvicorn(app: ExampleApp) -> subprocess.Popen[bytes]:
    program, *arguments = app.adapt(commands()[-1]).split()
    with (app.directory / "uvicorn.log").open("wb") as log:
        command = [sys.executable, "-m", program, *arguments]
        return subprocess.Popen(command, cwd=app.directory, stdout=log, stderr=log)


async def _watch(client: httpx.AsyncClient, seen: asyncio.Event) -> None:
    """Read the stream to its end, as a page does; a server that stops waits for this."""
    async with client.stream("GET", "ui/api/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                seen.set()


def test_its_images_exist() -> None:
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / PAGE).read_text())
    assert named
    assert all((ROOT / "docs" / picture).exists() for picture in named)
