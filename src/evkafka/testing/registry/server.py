"""Serves the in-memory registry on a port, in threads, so that plain and async tests can use it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_S = 0.02
"""How often the server checks whether it has to stop."""

Answer = tuple[int, bytes] | None
"""Status and body; None closes the connection without a response."""

Respond = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Answers a request: method, target, headers by their names in lower case, body. May block."""


class RegistryServer:
    """A port of 127.0.0.1. It may be started again after a stop, with the same port.

    Args:
        media_type: the `Content-Type` of the responses.
    """

    def __init__(self, respond: Respond, media_type: str) -> None:
        from evkafka.broker.reserved_port import ReservedPort  # tests without a registry on a port do not load it

        self._respond = respond
        self._media_type = media_type
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._reserved = ReservedPort(None)  # on Linux no other process gets it while the server is stopped
        self.port = self._reserved.number

    def start(self) -> None:
        self._server = _Server(self.port, self._respond, self._media_type)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[POLL_S], name="evkafka-registry", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection: clients are refused from now on."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.close_connections()
        self._server = self._thread = None

    def close(self) -> None:
        self.stop()
        self._reserved.release()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, respond: Respond, media_type: str) -> None:
        self.respond = respond
        self.media_type = media_type
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Connection)

    def add_connection(self, connection: socket.socket) -> None:
        self._connections.add(connection)

    def remove_connection(self, connection: socket.socket) -> None:
        self._connections.discard(connection)

    def close_connections(self) -> None:
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # the whole response in one packet
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.add_connection(self.connection)

    def finish(self) -> None:
        self.server.remove_connection(self.connection)
        with contextlib.suppress(OSError):  # the client has gone
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def _answer_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.respond(self.command, self.path, headers, body)
        if answer is None:
            self.close_connection = True
            return
        status, content = answer
        self.send_response(status)
        self.send_header("Content-Type", self.server.media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer_request  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Requests are in `InMemoryRegistry.requests`."""
