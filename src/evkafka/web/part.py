"""The web part of one app, as its service starts and stops it. What needs the extra is imported at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evkafka.web import require_extra
from evkafka.web.view import AppView

if TYPE_CHECKING:
    from evkafka.web.server import WebServer


class WebPart:
    """Serves an app's pages on an address of its own."""

    def __init__(self, app: AppView, *, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: WebServer | None = None

    def check(self) -> None:
        """Raises:
        ConfigError: the extra is not installed.
        """
        require_extra()

    async def start(self) -> None:
        """Raises:
        ConfigError: the address cannot be listened on.
        """
        from evkafka.web.application import web_app
        from evkafka.web.server import WebServer, is_loopback

        self._server = WebServer(
            lambda: web_app(self._app, only_local_names=is_loopback(self._host)), host=self._host, port=self._port
        )
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    @property
    def url(self) -> str | None:
        """Where it can be opened; None while it does not run."""
        return self._server.url if self._server is not None else None


def mountable(app: AppView) -> Any:
    """The web part as an ASGI app, for a server of somebody else's.

    Raises:
        ConfigError: the extra is not installed.
    """
    require_extra()
    from evkafka.web.application import web_app

    return web_app(app)
