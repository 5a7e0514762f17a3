"""The defects of evkafka 0.7; none of them may come back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from evkafka import DeliveryError, EVKafkaApp, EVKafkaProducer, Handler, Request, Sender, TestClient
from evkafka.testing import InMemoryKafka

ROOT = Path(__file__).parents[2]
CONFIG: Any = {"topics": ["orders"], "group_id": "billing", "auto_offset_reset": "earliest"}


def app_with(handler: Handler, sender: Sender | None = None, **keys: Any) -> EVKafkaApp:
    app = EVKafkaApp()
    app.add_consumer({**CONFIG, **keys}, handler)
    if sender is not None:
        app.add_producer({"topic": "out"}, sender)
    return app


class TestConsuming:
    def test_the_context_has_the_records_offset(self) -> None:
        handler, seen = Handler(), list[tuple[int, int]]()

        @handler.event("E")
        async def on_event(event: dict[str, Any], request: Request) -> None:
            consumer = request.context.consumer
            seen.append((consumer.partition, consumer.offset))

        with TestClient(app_with(handler)) as client:
            for _ in range(2):
                client.send_event({}, "E", "orders", partition=3)
        assert seen == [(3, 0), (3, 1)]

    async def test_a_failing_record_does_not_end_the_app(self) -> None:
        handler, seen = Handler(), list[int]()

        @handler.event("E")
        async def on_event(event: dict[str, Any], request: Request) -> None:
            seen.append(request.attempt)
            if request.attempt < 3:
                raise ValueError("not yet")

        app = app_with(handler)
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            await kafka.send("orders", {}, event_type="E")
            await kafka.settle()
            assert not app.should_exit
        assert seen == [1, 2, 3]
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)

    def test_an_app_that_fails_has_a_nonzero_exit_code(self, tmp_path: Path) -> None:
        program = f"""
from evkafka import EVKafkaApp, Handler
app = EVKafkaApp()
app.add_consumer({CONFIG | {"bootstrap_servers": "127.0.0.1:9", "start_timeout_ms": 300}!r}, Handler())
app.run()
"""
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path, timeout=240)
        assert run.returncode == 3

    def test_an_undefined_name_in_an_annotation_prevents_the_start(self, tmp_path: Path) -> None:
        program = f"""
from __future__ import annotations
from evkafka import EVKafkaApp
app = EVKafkaApp(config={CONFIG!r})
@app.event("E")
async def on_event(event: Nowhere) -> None: ...
app.run()
"""
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path, timeout=240)
        assert run.returncode == 3
        assert b"'Nowhere' in its annotations does not exist" in run.stderr
        assert b"Traceback" not in run.stderr

    async def test_a_tombstone_does_not_fail_decoding(self) -> None:
        handler, seen = Handler(), list[object]()

        @handler.event("E")
        async def on_event(event: dict[str, Any]) -> None:
            seen.append(event)

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_with(handler)):
            await kafka.send("orders", None, event_type="E", key="1")
            await kafka.send("orders", {"n": 1}, event_type="E", key="1")
            await kafka.settle()
        assert seen == [{"n": 1}]
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=2)

    @pytest.mark.parametrize("value", [True, False])
    async def test_enable_auto_commit_in_the_configuration_is_ignored(self, value: bool) -> None:
        handler, seen = Handler(), list[object]()

        @handler.event("E")
        async def on_event(event: dict[str, Any]) -> None:
            seen.append(event)

        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_with(handler, enable_auto_commit=value)):
            await kafka.send("orders", {}, event_type="E")
            await kafka.settle()
        assert seen == [{}]
        kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)


class TestDeclaring:
    def test_include_handler_keeps_summary_description_and_tags(self) -> None:
        inner, outer = Handler(), Handler()

        @inner.event("E", summary="a summary", description="a description", tags=["a tag"])
        async def on_event(event: dict[str, Any]) -> None: ...

        outer.include_handler(inner)
        [endpoint] = outer.endpoints
        assert (endpoint.summary, endpoint.description) == ("a summary", "a description")
        assert [getattr(tag, "name", tag) for tag in endpoint.tags or ()] == ["a tag"]


class TestSending:
    def test_partition_0_and_an_empty_key_are_sent(self) -> None:
        handler, sender = Handler(), Sender()

        @sender.event("Out")
        async def send_out(event: dict[str, Any]) -> None: ...

        @handler.event("E")
        async def on_event(event: dict[str, Any]) -> None:
            await send_out(event, partition=0, key=b"")

        with TestClient(app_with(handler, sender)) as client:
            client.send_event({}, "E", "orders")
            [sent] = client.sent
        assert (sent.partition, sent.key) == (0, b"")

    async def test_a_send_is_confirmed_or_raises(self) -> None:
        async with InMemoryKafka(seed=1) as kafka:
            kafka.create_topic("out")
            async with EVKafkaProducer({"topic": "out", "delivery_timeout_ms": 2000}) as producer:
                sent = await producer.send_event({}, "E")
                assert len(kafka.records("out")) == sent.offset + 1 == 1
                async with kafka.outage():
                    failing = asyncio.ensure_future(producer.send_event({}, "E"))
                    await kafka.advance(ms=2100)
                    with pytest.raises(DeliveryError, match=r"'E'.*'out'"):
                        await failing


class TestTesting:
    def test_the_client_raises_what_the_endpoint_raised(self) -> None:
        handler, error = Handler(), ValueError("of the endpoint")

        @handler.event("E")
        async def on_event(event: dict[str, Any]) -> None:
            raise error

        with TestClient(app_with(handler)) as client, pytest.raises(ValueError) as caught:
            client.send_event({}, "E", "orders")
        assert caught.value is error


class TestPackaging:
    def test_the_wheel_is_to_have_every_package(self) -> None:
        wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
        assert wheel.keys() == {"packages", "force-include"}  # nothing is excluded
        assert {ROOT / package for package in wheel["packages"]} == {
            path.parent for path in ROOT.glob("src/*/__init__.py")
        }

    @pytest.mark.long
    def test_the_wheel_has_every_module(self, tmp_path: Path) -> None:
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
        subprocess.run(build, check=True, timeout=120)
        [wheel] = tmp_path.glob("*.whl")
        inside = set(zipfile.ZipFile(wheel).namelist())
        sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
        assert sources - inside == set()
        assert "evkafka/py.typed" in inside
