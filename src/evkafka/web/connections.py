"""Connections of the web server: how long one may be silent, and how many there may be.

Probes come from the same port as everything else. A connection costs nothing to open, so no number of them may keep a
probe out: a new one is always taken, and the one that matters least is closed for it. What is under way is kept, one
that waits for its client goes first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from evkafka.web.security import HEADERS, network_of

MOST = 300
MOST_OF_AN_ADDRESS = 100

HEAD_S = 10.0
"""From a connection's beginning, or the end of its last answer, to the end of a request's head."""

BODY_S = 10.0
"""From the end of a request's head to that of its body."""

WRITE_S = 30.0
WRITE_BYTES = 16 * 1024
"""A client that waits for nothing takes more than this of its answer in `WRITE_S`."""


class Connections:
    """All connections of one server."""

    def __init__(self) -> None:
        self._open: dict[Connection, None] = {}  # the oldest first
        self._of_address: Counter[str] = Counter()

    def add(self, connection: Connection) -> None:
        """Take one more; another one is closed for it if there are too many."""
        address = connection.address
        if self._of_address[address] >= MOST_OF_AN_ADDRESS:
            self._close_one(address)
        elif len(self._open) >= MOST:
            self._close_one(None)
        self._open[connection] = None
        self._of_address[address] += 1

    def remove(self, connection: Connection) -> None:
        """Idempotent: one that was closed here is told of its end later."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    def _close_one(self, address: str | None) -> None:
        """The oldest of those that wait for their client; the oldest of all if none does."""
        mine = (one for one in self._open if address is None or one.address == address)
        last = min(mine, key=lambda one: not one.waits_for_client)
        self.remove(last)
        last.cut()


class Connection(H11Protocol):
    """One connection, with deadlines for what its client owes: a head, a body, the taking of an answer."""

    def __init__(self, *given: Any, connections: Connections, **named: Any) -> None:
        super().__init__(*given, **named)
        self._connections = connections
        self._owed = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        return network_of(self.client[0] if self.client else "")

    @property
    def waits_for_client(self) -> bool:
        return bool(self._owed) or self._unread is not None

    def cut(self) -> None:
        """Close it at once: what was not taken of an answer is dropped."""
        self.transport.abort()

    # ------------------------------------------------------------------ uvicorn's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._connections.add(self)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self._deadline = self._unread = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """What cannot be read as HTTP is answered with the headers that every answer has."""
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"connection", b"close"),
            *((name.encode(), value.encode()) for name, value in HEADERS.items()),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=msg.encode("ascii")),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    # ------------------------------------------------------------------ what the client owes

    def _await_reading(self) -> None:
        left = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() > left - WRITE_BYTES:
                self.cut()
            else:
                self._await_reading()

        if self._unread is not None:
            self._unread.cancel()
        self._unread = self.loop.call_later(WRITE_S, look)

    def _expect(self) -> None:
        """A deadline counts from when something was owed first: one byte at a time does not put it off."""
        owed = self._owes()
        if owed == self._owed:
            return
        self._owed = owed
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if owed and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEAD_S if owed == "head" else BODY_S, self.cut)

    def _owes(self) -> str:
        match self.conn.their_state:
            case h11.IDLE:
                return "head"
            case h11.SEND_BODY:
                return "body"
            case _:
                return ""
