"""A TCP proxy in front of one Kafka broker that parses Kafka's frames and injects faults.

Clients stay behind it: in answers that contain the broker's address, its port is replaced by the proxy's.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import pytest

from evkafka.broker import KafkaBroker

PRODUCE, FETCH, LIST_OFFSETS, METADATA, COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 0, 1, 2, 3, 8, 9, 10
JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 11, 12, 13, 14
INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 25, 26, 28
CONSUMER_GROUP_HEARTBEAT = 68

SLOW_STEP_S = 0.1
ACCEPT_STEPS = 10
"""Rounds of the event loop until a connection that asyncio has just accepted is known to the proxy; it takes three."""

Mode = Literal["pass", "blackhole", "refuse"]


@dataclass
class Rule:
    """A fault for requests of one kind.

    Attributes:
        cut: "before" closes the connection instead of passing the request on; "after" passes it on and closes
            before the answer, so that the client cannot know whether it was executed.
        hold: the request waits until `release` is set, and is then passed on.
        count: how many requests it applies to.
    """

    api_key: int
    cut: Literal["before", "after"] | None = None
    hold: bool = False
    delay_s: float = 0.0
    count: int = 1
    hits: int = 0
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """`async with Proxy(broker.bootstrap_servers) as proxy:`; then connect to `proxy.bootstrap_servers`."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._host, self._port = host, int(port)
        self._server: asyncio.Server | None = None
        self._own_port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._forgotten: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._rules: list[Rule] = []
        self._rewrites: dict[int, Callable[[bytes], bytes]] = {}
        self.requests: list[int] = []
        """The API keys of all requests seen, in order."""
        self.bytes_per_s: float | None = None
        """Limits the rate of answers on each connection: a slow line."""

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._own_port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._own_port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.set("refuse")

    # ------------------------------------------------------------------ faults

    async def set(self, mode: Mode) -> None:
        """`blackhole` accepts bytes in both directions and passes none on until the mode is "pass"; `refuse` closes all
        connections and stops listening."""
        if mode == "blackhole":
            self._passing.clear()
            return
        if mode == "refuse":
            assert self._server is not None
            await self._stop_listening(self._server)
            self.disconnect()
        elif self._server is not None and not self._server.is_serving():
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._own_port)
        self._passing.set()
        if mode == "refuse" and self._connections:
            await asyncio.wait(self._connections, timeout=5)

    async def _stop_listening(self, server: asyncio.Server) -> None:
        """asyncio would leave a connection open that it has accepted just before the server is closed."""
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(ACCEPT_STEPS):
            await asyncio.sleep(0)
        server.close()

    def disconnect(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()
        for task in self._connections:
            task.cancel()

    def forget(self) -> None:
        """Make present connections half-open: they stay open and pass nothing on any more; new connections work."""
        self._forgotten.update(self._connections)

    def on(self, api_key: int, **rule: object) -> Rule:
        """Apply a `Rule` to the next requests of this kind."""
        new = Rule(api_key, **rule)  # type: ignore[arg-type]
        self._rules.append(new)
        return new

    def rewrite(self, api_key: int, change: Callable[[bytes], bytes] | None) -> None:
        """Pass answers to requests of this kind through a function of their bytes (without the frame's length)."""
        if change is None:
            self._rewrites.pop(api_key, None)
        else:
            self._rewrites[api_key] = change

    # ------------------------------------------------------------------ connections

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        server_writer: asyncio.StreamWriter | None = None
        try:
            await self._passing.wait()
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
            self._writers.add(server_writer)
            kinds: dict[int, int] = {}  # correlation id -> API key
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, server_writer, kinds, writer, task))
                both.create_task(self._backward(server_reader, writer, kinds, server_writer, task))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, server_writer):
                if end is not None:
                    end.transport.abort()
                    self._writers.discard(end)
            self._connections.discard(task)
            self._forgotten.discard(task)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kinds: dict[int, int],
        back: asyncio.StreamWriter,
        connection: asyncio.Task[None],
    ) -> None:
        while True:
            frame = await _frame(reader)
            await self._passing.wait()
            if connection in self._forgotten:
                continue
            api_key, _, correlation = struct.unpack_from(">hhi", frame)
            self.requests.append(api_key)
            rule = self._rule_for(api_key)
            if rule is not None:
                rule.seen.set()
                if rule.cut == "before":
                    back.transport.abort()
                    return
                if rule.hold:
                    await rule.release.wait()
                if rule.delay_s:
                    await asyncio.sleep(rule.delay_s)
            kinds[correlation] = -1 if rule is not None and rule.cut == "after" else api_key
            writer.write(struct.pack(">i", len(frame)) + frame)
            await writer.drain()

    async def _backward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kinds: dict[int, int],
        forth: asyncio.StreamWriter,
        connection: asyncio.Task[None],
    ) -> None:
        while True:
            frame = await _frame(reader)
            await self._passing.wait()
            if connection in self._forgotten:
                continue
            (correlation,) = struct.unpack_from(">i", frame)
            api_key = kinds.pop(correlation, -2)
            if api_key == -1:
                writer.transport.abort()
                forth.transport.abort()
                return
            if api_key in (METADATA, FIND_COORDINATOR):
                named, own = (self._host.encode() + struct.pack(">i", port) for port in (self._port, self._own_port))
                frame = frame.replace(named, own)
            if api_key in self._rewrites:
                frame = self._rewrites[api_key](frame)
            await self._answer(writer, struct.pack(">i", len(frame)) + frame)

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        piece = len(answer) if self.bytes_per_s is None else max(1, int(self.bytes_per_s * SLOW_STEP_S))
        for begin in range(0, len(answer), piece):
            if self.bytes_per_s is not None:
                await asyncio.sleep(SLOW_STEP_S)
            writer.write(answer[begin : begin + piece])
            await writer.drain()

    def _rule_for(self, api_key: int) -> Rule | None:
        for rule in self._rules:
            if rule.api_key == api_key and rule.hits < rule.count:
                rule.hits += 1
                return rule
        return None


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


@pytest.fixture
async def proxy(kafka_broker: KafkaBroker) -> AsyncIterator[Proxy]:
    """A proxy in front of the real broker."""
    async with Proxy(kafka_broker.bootstrap_servers) as proxy:
        yield proxy
