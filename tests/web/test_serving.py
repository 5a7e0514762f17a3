"""The web server of an app: start, stop, errors, security, mounting."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from evkafka import EVKafkaApp, Sender
from evkafka.exceptions import StartFailed
from evkafka.testing import InMemoryKafka
from tests.support.http_client import get
from tests.web.apps import app_with, handling

IMPORTS_AT_THE_START = """
import asyncio, sys
from evkafka import EVKafkaApp
from evkafka.web.component import WebComponent

component = WebComponent(EVKafkaApp(), host="127.0.0.1", port=0, ui_token=None)
component.import_modules_and_create_pages()
known = set(sys.modules)

async def serve():
    await component.start()
    print(sorted(set(sys.modules) - known))
    await component.stop()

asyncio.run(serve())
"""


class TestServing:
    async def test_the_contract_is_served_while_the_app_runs(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            url = app.web_url
            answer = await get(url)
            assert answer.code == 200
            assert "Billing" in answer.text
            assert (await get(url, "asyncapi.json")).json()["asyncapi"] == "3.0.0"
        with pytest.raises(ConnectionRefusedError):
            await get(url)

    async def test_yaml_equals_json(self) -> None:
        import yaml

        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            told = await get(app.web_url, "asyncapi.yaml")
            assert told.headers["content-type"] == "application/yaml"
            assert yaml.safe_load(told.text) == (await get(app.web_url, "asyncapi.json")).json()

    async def test_without_web_nothing_is_served(self) -> None:
        app = EVKafkaApp()
        app.add_consumer({"topics": ["orders"], "group_id": "g"}, handling())
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert app.web_url is None

    @pytest.mark.parametrize(
        "options",
        [
            {"expose_asyncapi": True, "asyncapi_port": 0},
            {"web": True, "web_port": 0},
            {"web": True, "asyncapi_port": 0},
            {"expose_asyncapi": True, "asyncapi_host": "0.0.0.0", "asyncapi_port": 0, "web_host": "127.0.0.1"},
        ],
    )
    async def test_the_parameter_names_of_0_7_still_work(self, options: dict[str, Any]) -> None:
        app = EVKafkaApp(**options)
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert app.web_url is not None
            assert app.web_url.startswith("http://127.0.0.1:")
            assert (await get(app.web_url)).code == 200

    def test_the_defaults_are_this_machine_only_and_port_8080(self) -> None:
        app = EVKafkaApp(web=True)
        assert (app.web_host, app.web_port) == (app.asyncapi_host, app.asyncapi_port) == ("127.0.0.1", 8080)

    async def test_the_log_has_its_address(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "evkafka.web")
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert app.web_url is not None
            assert app.web_url in caplog.text
            assert 'web_host="0.0.0.0"' in caplog.text

    async def test_it_can_listen_on_ipv6(self) -> None:
        app = EVKafkaApp(web=True, web_host="::1", web_port=0)
        try:
            async with InMemoryKafka() as kafka, kafka.running(app):
                assert (await get(app.web_url)).code == 200
        except StartFailed as error:
            pytest.skip(f"this machine has no IPv6: {error}")


class TestOrder:
    async def test_it_starts_after_consumers_and_producers_and_stops_before_them(self) -> None:
        seen: list[str] = []

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            seen.append(f"lifespan, web {app.web_url is not None}")
            yield
            where = urlsplit(urls[0])
            # Without an await: the deadline of the stop uses the virtual clock, which does not wait for sockets.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((where.hostname, where.port))
            seen.append("lifespan's end, web is closed")

        app = EVKafkaApp(web=True, web_port=0, lifespan=lifespan)
        app.add_consumer({"topics": ["orders"], "group_id": "g"}, handling())
        app.add_producer({}, Sender())
        urls: list[str] = []
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert app.web_url is not None
            urls.append(app.web_url)
            assert (await get(app.web_url, "startupz")).code == 200
        assert seen == ["lifespan, web False", "lifespan's end, web is closed"]

    async def test_an_app_that_runs_again_has_a_new_web_server(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka:
            for _ in range(2):
                async with kafka.running(app):
                    assert (await get(app.web_url)).code == 200

    async def test_an_open_connection_does_not_delay_the_stop(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka:
            async with kafka.running(app):
                assert app.web_url is not None
                port = int(app.web_url.rstrip("/").rpartition(":")[2])
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await asyncio.wait_for(reader.read(), 60)
            writer.close()


class TestErrors:
    async def test_a_port_in_use_prevents_the_start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            app = app_with()
            app.web_port = port
            async with InMemoryKafka() as kafka:
                with pytest.raises(
                    StartFailed, match=f"cannot listen on 127.0.0.1:{port}: the port is in use; set web_port"
                ):
                    async with kafka.running(app):
                        pass
                app.web_port = 0
                async with kafka.running(app):  # the first start left nothing behind
                    await kafka.send("orders", {}, event_type="OrderPlaced")
                    await kafka.settle()

    async def test_an_address_of_another_machine_is_refused_with_a_fix(self) -> None:
        app = EVKafkaApp(web=True, web_host="192.0.2.7", web_port=0)
        async with InMemoryKafka() as kafka:
            with pytest.raises(
                StartFailed, match="this machine does not have that address; set web_host to one that it has"
            ):
                async with kafka.running(app):
                    pass

    def test_it_imports_nothing_once_consumers_have_joined(self) -> None:
        program = [sys.executable, "-c", IMPORTS_AT_THE_START]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=240, check=True)
        assert ended.stdout == "[]\n"

    def test_a_port_in_use_ends_the_process_with_3_and_one_sentence(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            program = f"from evkafka import EVKafkaApp\nEVKafkaApp(web=True, web_port={taken.getsockname()[1]}).run()"
            ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
        assert ended.returncode == 3
        assert "the port is in use" in ended.stderr
        assert "Traceback" not in ended.stderr

    @pytest.mark.parametrize("missing", ["starlette", "uvicorn", "jinja2", "markdown_it"])
    def test_without_the_extra_one_sentence_says_what_to_install(self, missing: str) -> None:
        program = f"""
import sys
sys.modules[{missing!r}] = None
from evkafka import EVKafkaApp
EVKafkaApp(web=True, web_port=0).run()
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
        assert ended.returncode == 3
        assert "pip install 'evkafka[web]'" in ended.stderr
        assert "Traceback" not in ended.stderr

    async def test_an_error_in_a_page_is_an_answer_and_the_app_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = app_with()
        monkeypatch.setattr(app, "asyncapi", lambda: 1 / 0)
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert (await get(app.web_url)).code == 500
            await kafka.send("orders", {}, event_type="OrderPlaced")
            await kafka.settle()
            assert (await get(app.web_url, "livez")).code == 200


class TestSecurity:
    @pytest.mark.parametrize("path", ["", "asyncapi.json", "livez", "metrics", "static/contract.css", "nowhere"])
    async def test_every_answer_has_the_strict_policy(self, path: str) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            headers = (await get(app.web_url, path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::2]:80"])
    async def test_a_foreign_host_name_is_refused_on_loopback(self, host: str) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert (await get(app.web_url, "asyncapi.json", host=host)).code == 421

    @pytest.mark.parametrize("path", ["", "livez", "readyz", "startupz", "metrics", "asyncapi.yaml", "ui", "static/x"])
    async def test_no_path_is_served_under_a_foreign_host_name_on_loopback(self, path: str) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert (await get(app.web_url, path, host="evil.example")).code == 421

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:8080", "[::1]"])
    async def test_names_of_this_machine_are_answered(self, host: str) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert (await get(app.web_url, "livez", host=host)).code == 200

    async def test_on_other_addresses_every_host_name_is_answered(self) -> None:
        app = EVKafkaApp(web=True, web_host="0.0.0.0", web_port=0)
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert (await get(app.web_url, "livez", host="10.1.2.3:8080")).code == 200

    async def test_only_get_and_head_are_allowed(self) -> None:
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert app.web_url is not None
            port = int(app.web_url.rstrip("/").rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            assert b"405" in await reader.readline()
            writer.close()

    async def test_no_page_contains_a_password(self) -> None:
        app = app_with(
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_plain_username="somebody",
            sasl_plain_password="hunter2-planted",
        )
        async with InMemoryKafka() as kafka, kafka.running(app):
            for path in ("", "asyncapi.json", "asyncapi.yaml", "livez?verbose", "readyz?verbose", "metrics"):
                assert "hunter2-planted" not in (await get(app.web_url, path)).text


class TestMounted:
    async def test_it_can_be_mounted_in_another_app(self) -> None:
        from starlette.applications import Starlette

        from tests.web.asgi import ask

        app = app_with()
        app.web = False
        outer = Starlette()
        outer.mount("/kafka", app.asgi())
        assert (await ask(outer, "/kafka/readyz")).code == 503
        assert (await ask(outer, "/kafka/startupz")).code == 503
        assert (await ask(outer, "/kafka/livez")).code == 200
        async with InMemoryKafka() as kafka, kafka.running(app):
            assert (await ask(outer, "/kafka/readyz")).code == 200
            page = await ask(outer, "/kafka/")
            assert 'href="static/contract.css"' in page.text
            assert (await ask(outer, "/kafka/static/contract.css")).code == 200

    async def test_endpoints_declared_after_the_mounting_are_in_the_contract(self) -> None:
        from tests.web.asgi import ask

        handler = handling()
        app = app_with(handler)
        pages = app.asgi()
        assert "Late" not in (await ask(pages, "/asyncapi.json")).text

        @handler.event("Late")
        async def on_late(event: dict[str, Any]) -> None: ...

        assert "Late" in (await ask(pages, "/asyncapi.json")).text
