"""The pages on migration and on integration with other software: their files work."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from evkafka import EVKafkaProducer, consumer_config
from evkafka.broker import KafkaBroker
from tests.docs.programs import Start
from tests.support.doc_pages import ROOT, blocks, file
from tests.support.kafka_topics import MakeTopic
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytest_plugins = ["pytester"]


OWN_TESTS = ["docs/internals.md", "docs/integrations.md", "docs/migrating-from-0.7.md"]


@pytest.mark.parametrize("page", OWN_TESTS)
def test_the_tests_of_the_page_pass(page: str, pytester: pytest.Pytester) -> None:
    tests = 0
    for block in blocks(page):
        if block.language == "python":
            assert block.title is not None, f"a block without a file's name is not run:\n{block.code}"
            (pytester.path / block.title).write_text(block.code)
            tests += block.code.count("def test_")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    done.assert_outcomes(passed=tests)


def test_every_file_of_living_with_others_can_be_imported(start: Start, tmp_path: Path) -> None:
    for block in blocks("docs/integrations.md"):
        if block.title is not None and not block.title.startswith("test_"):
            (tmp_path / block.title).write_text(block.code)
    (tmp_path / "all_of_it.py").write_text(
        "import api_with_more, bind_fields, page, shop_events, report_errors, worker\nprint('fine')"
    )

    run = start("python all_of_it.py", "all")

    assert run.process.wait(60) == 0, run.printed


@pytest.mark.parametrize("command", ["python -m uvicorn page:web --port {port}", "evkafka run worker:app"])
async def test_an_app_inside_starlette_and_an_api_inside_an_app_start_and_stop_together(
    command: str,
    kafka_broker: KafkaBroker,
    topic: MakeTopic,
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders = await topic()
    port = free_port()
    monkeypatch.setenv("API_PORT", str(port))
    servers = f'"bootstrap_servers": "{kafka_broker.bootstrap_servers}"'
    for name in ("api.py", "page.py", "worker.py"):
        code = file("docs/integrations.md", name).replace('topic="orders"', f'topic="{orders}"')
        code = code.replace('"topics": ["orders"]', f'"topics": ["{orders}"], {servers}').replace(
            "{}, sender", f"{{{servers}}}, sender"
        )
        (tmp_path / name).write_text(code)
    service = start(command.format(port=port), "service")

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=240) as client:
        path = "/events/readyz" if "page" in command else "/orders"

        async def answers() -> bool:
            try:
                if "page" in command:
                    return (await client.get(path)).status_code == 200
                placed = await client.post(path, json={"order_id": "7"})
                return placed.status_code == 202
            except httpx.TransportError:
                return False

        await eventually(answers, what=f"an answer; it printed {service.printed}")
        if path == "/orders":

            async def handled() -> bool:
                return "7" in (await client.get(path)).json()

            await eventually(handled)
    # uvicorn raises the signal again after its application has ended.
    assert service.terminate() == (-signal.SIGTERM if "page" in command else 0), service.printed
    assert "Application shutdown complete" in service.printed or "worker" in command


@pytest.mark.parametrize("page", ["docs/deployment.md", "docs/tuning.md"])
def test_the_configurations_of_the_page_are_accepted(page: str) -> None:
    for block in blocks(page):
        if block.language == "python":
            namespace: dict[str, Any] = {"__name__": "example"}
            exec(compile(block.code, str(block.title), "exec", dont_inherit=True), namespace)
            assert "app" in namespace or consumer_config(namespace["config"])


def test_the_scaling_figures_are_those_of_the_last_benchmark() -> None:
    def curve(name: str, line: str) -> dict[int, float]:
        [found] = [one for one in measured("curves")["curves"] if one["name"] == name]
        return dict(zip(found["xs"], found["lines"][line], strict=True))

    keys = "EVKafka, 64 in flight"
    expected = {
        "up to 64 partitions": max(us for number, us in curve("partitions", "EVKafka").items() if number <= 64),
        "from 500 partitions": curve("partitions", "EVKafka")[500],
        "1 000 endpoints": curve("handlers", "EVKafka")[1000],
        "by key, 1 000 keys": curve("keys", keys)[1000],
        "| 1 KB": curve("size", "EVKafka")[1000],
        "| 10 KB": curve("size", "EVKafka")[10_000],
        "| 100 KB": curve("size", "EVKafka")[100_000],
    }
    page = (ROOT / "docs" / "deployment.md").read_text()
    for what, us in expected.items():
        [row] = [line for line in page.splitlines() if what in line and line.startswith("|")]
        stated_us, per_s = (float(cell.replace(" ", "")) for cell in row.split("|")[2:4])
        assert stated_us == pytest.approx(us, rel=0.4), what
        assert per_s == pytest.approx(1_000_000 / stated_us, rel=0.05), what
    [_, two] = measured("workers")["workers"]
    [ratio] = re.findall(r"two processes did ([0-9.]+) times", page)
    assert float(ratio) == pytest.approx(two["ratio"], rel=0.1)


def measured(name: str) -> Any:
    return json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [
        ("docs/migrating-from-aiokafka.md", "python with_aiokafka.py", "python with_evkafka.py"),
        ("docs/migrating-from-faststream.md", "faststream run with_faststream:app", "evkafka run with_evkafka:app"),
    ],
)
async def test_the_service_after_the_migration_continues_where_the_one_before_stopped(
    page: str,
    before: str,
    after: str,
    kafka_broker: KafkaBroker,
    topic: MakeTopic,
    start: Start,
    tmp_path: Path,
) -> None:
    orders, bills, group = await topic(), await topic(), f"billing-{tmp_path.name}"
    changed = {
        "localhost:9092": kafka_broker.bootstrap_servers,
        '"orders"': f'"{orders}"',
        '"bills"': f'"{bills}"',
        '"billing"': f'"{group}"',
    }
    for command in (before, after):
        name = re.sub(r":app$", "", command.split()[-1]).removesuffix(".py") + ".py"
        code = file(page, name)
        for old, new in changed.items():
            code = code.replace(old, new)
        (tmp_path / name).write_text(code)

    for number, command in enumerate((before, after)):
        async with EVKafkaProducer({"bootstrap_servers": kafka_broker.bootstrap_servers, "topic": orders}) as producer:
            for cents in (1, 2):
                await producer.send_event({"order_id": f"{number}-{cents}", "cents": cents}, "OrderPlaced")
        service = start(command, f"service-{number}")
        await eventually(lambda: f"billed {number}-2: 2" in service.printed)  # noqa: B023
        assert service.terminate() in (0, -15), service.printed
        billed = re.findall(r"billed (\S+):", service.printed)
        assert billed == [f"{number}-1", f"{number}-2"]
