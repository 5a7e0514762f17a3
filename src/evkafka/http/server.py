"""Runs uvicorn in the app's event loop. It handles no signals, and if it ends the app continues."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from ipaddress import IPv4Address

import uvicorn
from starlette.types import ASGIApp
from uvicorn.lifespan.off import LifespanOff

from evkafka.exceptions import EVKafkaError
from evkafka.http.connections import ClientConnection, Connections

logger = logging.getLogger("evkafka.web")

CLOSE_S = 1.0
"""How long an answer may still take when the server stops."""


class CannotListen(EVKafkaError):
    """The server cannot listen on the address; the message says why, and what to do.

    Not a ConfigError: a restart may help, when the port is free again.
    """


class WebServer:
    """Serves an ASGI app on one address. Start it once, and stop it once.

    Args:
        create_app: called at the start.
        port: 0 takes a free port; the attribute `port` is then the port in use.
    """

    def __init__(self, create_app: Callable[[], ASGIApp], *, host: str, port: int) -> None:
        self._create_app = create_app
        self.host = host
        self.port = port
        self._server: uvicorn.Server | None = None
        self._main_loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and serve requests.

        Raises:
            CannotListen: the port is in use, or another reason.
        """
        listener = _open_listening_socket(self.host, self.port)
        self.port = listener.getsockname()[1]

        class OwnConnection(ClientConnection):
            open_connections = Connections()

        config = uvicorn.Config(
            self._create_app(),
            http=OwnConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=64 * 1024,
            timeout_keep_alive=5,
        )
        config.load()
        server = self._server = uvicorn.Server(config)
        server.lifespan = LifespanOff(config)
        await server.startup(sockets=[listener])
        self._main_loop = asyncio.ensure_future(server.main_loop())
        logger.info("AsyncAPI documentation, health and metrics of this app: %s", self.url)
        if is_loopback(self.host):
            logger.info('it is reachable only from this machine; web_host="0.0.0.0" opens it to the network')

    async def stop(self) -> None:
        """Accept no more requests, wait up to `CLOSE_S` for running ones, then close. Never raises, never hangs."""
        server, main_loop = self._server, self._main_loop
        if server is None or main_loop is None:
            return
        server.should_exit = server.force_exit = True
        for open_server in server.servers:
            open_server.close()
        for connection in tuple(server.server_state.connections):
            connection.shutdown()
        answering = {*server.server_state.tasks, main_loop}
        _, late = await asyncio.wait(answering, timeout=CLOSE_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CLOSE_S)
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()

    @property
    def url(self) -> str:
        return url_of(self.host, self.port)


def url_of(host: str, port: int) -> str:
    """The address that a browser on this machine opens for a server that listens on this host."""
    host = {str(IPv4Address(0)): "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _open_listening_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CannotListen(_describe_error(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _describe_error(host: str, port: int, error: OSError) -> str:
    where = f"the HTTP server cannot listen on {host}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where}: the port is in use; set web_port to another one (0 takes a free one)"
        case errno.EACCES:
            return f"{where}: this user may not use the port; set web_port to 1024 or higher"
        case errno.EADDRNOTAVAIL:
            return f"{where}: this machine does not have that address; set web_host to one that it has"
        case _:
            return f"{where}: {error.strerror or error}; set another web_host or web_port"
