"""Silent and slow connections: they are closed in time, and none of them blocks a probe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from evkafka import EVKafkaApp
from evkafka.http import connections
from evkafka.testing import InMemoryKafka
from tests.support.http_client import get
from tests.support.waiting import PATIENCE_S, eventually
from tests.web.apps import app_with

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

SAYINGS = {
    "nothing": b"",
    "part of a head": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ",
    "part of a body": b"POST /ui/enter HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
    "a body that nobody reads": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
    "a stream": b"GET /ui/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "what is no HTTP": b"\x16\x03\x01\r\n\r\n",
}


@asynccontextmanager
async def serving() -> AsyncIterator[EVKafkaApp]:
    app = app_with()
    async with InMemoryKafka() as kafka, kafka.running(app):
        yield app


async def opened(app: EVKafkaApp, saying: bytes) -> Connection:
    where = urlsplit(app.web_url or "")
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(saying)
    return reader, writer


async def closed(many: list[Connection]) -> None:
    for _, writer in many:
        writer.transport.abort()


class TestManyConnections:
    @pytest.mark.parametrize("saying", list(SAYINGS))
    async def test_do_not_keep_a_probe_from_its_answer(self, saying: str) -> None:
        async with serving() as app:
            many = [await opened(app, SAYINGS[saying]) for _ in range(2 * connections.CONNECTIONS_PER_ADDRESS_MAX + 10)]
            for path in ("livez", "readyz", "startupz", "metrics"):
                assert (await get(app.web_url, path)).code == 200
            await closed(many)

    async def test_of_one_address_are_limited_and_the_oldest_waiting_ones_are_closed_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "HEAD_S", 600)  # a slow machine takes longer to open them
        async with serving() as app:
            stream = await opened(app, SAYINGS["a stream"])
            assert (await stream[0].readline()).startswith(b"HTTP/1.1 200")
            many = [await opened(app, b"") for _ in range(connections.CONNECTIONS_PER_ADDRESS_MAX + 5)]
            assert (await get(app.web_url, "livez")).code == 200
            ended = [await asyncio.wait_for(reader.read(), PATIENCE_S) for reader, _ in many[:6]]
            assert ended == [b""] * 6
            assert not many[-1][0].at_eof()
            assert not stream[0].at_eof()  # its answer is in progress
            await closed([*many, stream])

    async def test_of_all_addresses_together_are_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "CONNECTIONS_MAX", 5)
        async with serving() as app:
            many = [await opened(app, b"") for _ in range(10)]
            assert (await get(app.web_url, "livez")).code == 200
            assert [await asyncio.wait_for(reader.read(), PATIENCE_S) for reader, _ in many[:6]] == [b""] * 6
            await closed(many)


class TestDeadlines:
    @pytest.mark.parametrize("saying", ["nothing", "part of a head", "part of a body", "a body that nobody reads"])
    async def test_a_client_that_does_not_finish_its_request_is_disconnected(
        self, monkeypatch: pytest.MonkeyPatch, saying: str
    ) -> None:
        for name in ("HEAD_S", "BODY_S"):
            monkeypatch.setattr(connections, name, 0.05)
        async with serving() as app:
            reader, writer = await opened(app, SAYINGS[saying])
            await asyncio.wait_for(_to_the_end(reader), 60)
            writer.transport.abort()

    async def test_one_byte_at_a_time_does_not_extend_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "HEAD_S", 0.2)
        async with serving() as app:
            reader, writer = await opened(app, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")
            ended = asyncio.ensure_future(_to_the_end(reader))
            async with asyncio.timeout(30):
                while not ended.done():
                    writer.write(b"x")
                    await asyncio.wait({ended}, timeout=0.01)
            writer.transport.abort()

    async def test_a_client_that_does_not_read_its_answer_is_disconnected(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "WRITE_S", 0.05)
        app = app_with()
        monkeypatch.setattr(app, "asyncapi", lambda: '{"x": "' + "y" * 50_000_000 + '"}')
        async with InMemoryKafka() as kafka, kafka.running(app):
            where = urlsplit(app.web_url or "")
            reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1024)
            writer.write(b"GET /asyncapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            web = app._web_component._server._server.server_state  # type: ignore[union-attr]
            await eventually(lambda: not web.connections)  # the test does not read meanwhile: the reader is full
            writer.transport.abort()

    async def test_a_stream_that_is_read_outlives_all_deadlines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HEAD_S", "BODY_S", "WRITE_S"):
            monkeypatch.setattr(connections, name, 0.05)
        async with serving() as app:
            reader, writer = await opened(app, SAYINGS["a stream"])
            told = 0
            async with asyncio.timeout(60):
                while told < 3:
                    told += b"data: " in await reader.readline()
            writer.transport.abort()

    async def test_the_answer_to_invalid_http_has_the_security_headers(self) -> None:
        async with serving() as app:
            reader, writer = await opened(app, b"\x16\x03\x01\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 60)
            writer.transport.abort()
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"content-security-policy" in answer


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionResetError):
        await reader.read()
