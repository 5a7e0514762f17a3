"""Limits of the web server's connections: how many there may be, and how long one may be silent.

Health probes use the same port as all other requests, and connections cost a client nothing, so idle connections must
not keep probes out. A new connection is always accepted. If there are too many, another one is closed for it: first
the oldest one that waits for its client, so that answers in progress are kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from evkafka.http.security import HEADERS, ipv4_address_or_ipv6_network

CONNECTIONS_MAX = 300
CONNECTIONS_PER_ADDRESS_MAX = 100

HEAD_S = 10.0
"""Longest time from the start of the connection, or the end of its last answer, to the end of a request's head."""

BODY_S = 10.0
"""Longest time from the end of a request's head to the end of its body."""

WRITE_S = 30.0
WRITE_BYTES = 16 * 1024
"""A client must read more than this of its answer in `WRITE_S`."""


class Connections:
    """All connections of one server."""

    def __init__(self) -> None:
        self._open: dict[ClientConnection, None] = {}  # the oldest first
        self._of_address: Counter[str] = Counter()

    def add(self, connection: ClientConnection) -> None:
        """Add a connection; close another one if there are too many."""
        address = connection.address
        if self._of_address[address] >= CONNECTIONS_PER_ADDRESS_MAX:
            self._close_oldest(address)
        elif len(self._open) >= CONNECTIONS_MAX:
            self._close_oldest(None)
        self._open[connection] = None
        self._of_address[address] += 1

    def remove(self, connection: ClientConnection) -> None:
        """Idempotent: uvicorn calls it again for a connection that was closed here."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    def _close_oldest(self, address: str | None) -> None:
        """Close the oldest connection that waits for its client; the oldest of all if none does."""
        candidates = (connection for connection in self._open if address is None or connection.address == address)
        oldest = min(candidates, key=lambda connection: not connection.waits_for_client)
        self.remove(oldest)
        oldest.abort()


class ClientConnection(H11Protocol):
    """A connection with deadlines for its client: to send a head, to send a body, to read the answer.

    Each server defines a subclass with its own `open_connections`: uvicorn creates the objects, and takes only a class.
    """

    open_connections: ClassVar[Connections]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaited = ""  # the part of a request that the client must send: "head", "body" or nothing
        self._request_deadline: asyncio.TimerHandle | None = None
        self._read_deadline: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        return ipv4_address_or_ipv6_network(self.client[0] if self.client else "")

    @property
    def waits_for_client(self) -> bool:
        return bool(self._awaited) or self._read_deadline is not None

    def abort(self) -> None:
        """Close the connection at once, and drop the unread part of an answer."""
        self.transport.abort()

    # ------------------------------------------------------------------ called by uvicorn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.open_connections.add(self)
        self._update_request_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_connections.remove(self)
        for timer in (self._request_deadline, self._read_deadline):
            if timer is not None:
                timer.cancel()
        self._request_deadline = self._read_deadline = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_request_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_request_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_deadline_to_read_response()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP. These answers need the security headers too."""
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

    # ------------------------------------------------------------------ deadlines

    def _start_deadline_to_read_response(self) -> None:
        unread = self.transport.get_write_buffer_size()

        def check() -> None:
            if self.transport.get_write_buffer_size() > unread - WRITE_BYTES:
                self.abort()
            else:
                self._start_deadline_to_read_response()

        if self._read_deadline is not None:
            self._read_deadline.cancel()
        self._read_deadline = self.loop.call_later(WRITE_S, check)

    def _update_request_deadline(self) -> None:
        """Start the deadline of the next part of a request. More bytes of the same part do not extend it."""
        awaited = self._part_awaited_from_client()
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._request_deadline is not None:
            self._request_deadline.cancel()
            self._request_deadline = None
        if awaited and not self.transport.is_closing():
            self._request_deadline = self.loop.call_later(HEAD_S if awaited == "head" else BODY_S, self.abort)

    def _part_awaited_from_client(self) -> str:
        match self.conn.their_state:
            case h11.IDLE:
                return "head"
            case h11.SEND_BODY:
                return "body"
            case _:
                return ""
