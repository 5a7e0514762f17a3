"""The web part of one app, as its service starts and stops it. What needs the extra is imported at the start."""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any

from evkafka.web import require_extra

if TYPE_CHECKING:
    from evkafka.ui.app_view import OperatedApp
    from evkafka.ui.routes import Operations
    from evkafka.web.server import WebServer

logger = logging.getLogger("evkafka.web")

TOKEN_VARIABLE = "EVKAFKA_UI_TOKEN"  # noqa: S105  # nosec B105 # the name of the variable


WEAK = (
    "others can reach the operations page, and its token is short enough to be guessed."
    " Give it 16 characters or more that nobody can guess: openssl rand -hex 16"
)


class WebComponent:
    """Serves an app's pages on an address of its own."""

    def __init__(self, app: OperatedApp, *, host: str, port: int, ui_token: str | None) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._ui_token = ui_token
        self._server: WebServer | None = None
        self._operations: Operations | None = None

    def check(self) -> None:
        """Before anything of the app has started: from here on the operations page counts.

        All modules of the web part are imported here. `start` comes when the consumers have joined, and an import
        would hold their heartbeats: where a process gets little CPU time, for seconds.

        Raises:
            ConfigError: the extra is not installed.
        """
        require_extra()
        importlib.import_module("evkafka.web.application")
        from evkafka.web.server import is_loopback

        self._operations = operations_of(self._app, self._ui_token, open_to_read=is_loopback(self._host))

    async def start(self) -> None:
        """Raises:
        ConfigError: the address cannot be listened on.
        """
        from evkafka.web.application import web_app
        from evkafka.web.server import WebServer, is_loopback

        operations = self._operations
        assert operations is not None
        local = is_loopback(self._host)
        self._server = WebServer(
            lambda: web_app(self._app, operations, only_local_names=local), host=self._host, port=self._port
        )
        await self._server.start()
        operations.start()
        _say_how_to_open(operations, f"{self._server.url}ui")

    async def stop(self) -> None:
        if self._operations is not None:
            self._operations.end()
        if self._server is not None:
            await self._server.stop()

    @property
    def url(self) -> str | None:
        """Where it can be opened; None while it does not run."""
        return self._server.url if self._server is not None else None


def mountable(app: OperatedApp, ui_token: str | None) -> Any:
    """The web part as an ASGI app, for a server of somebody else's. Whom that lets in is not known here, so the
    operations page needs a token.

    Raises:
        ConfigError: the extra is not installed.
    """
    require_extra()
    from evkafka.web.application import web_app

    operations = operations_of(app, ui_token, open_to_read=False, mounted=True)
    if operations.guard is not None and operations.guard.is_weak:
        logger.warning("the mounted operations page: %s", WEAK)
    return web_app(app, operations)


def operations_of(app: OperatedApp, ui_token: str | None, *, open_to_read: bool, mounted: bool = False) -> Operations:
    from evkafka.ui.auth import Authenticator
    from evkafka.ui.routes import Operations

    token = ui_token or os.environ.get(TOKEN_VARIABLE) or None
    guard = Authenticator(token, open_to_read=open_to_read) if token is not None or open_to_read else None
    return Operations(app, guard, mounted=mounted)


def _say_how_to_open(operations: Operations, url: str) -> None:
    from evkafka.ui.routes import WHY_NOT

    guard = operations.guard
    if guard is not None and guard.is_weak:
        logger.warning("%s: %s", url, WEAK)
    if guard is None:
        logger.warning("%s: %s", url, WHY_NOT)
    elif guard.made:
        logger.info("operations: %s; to act there, the token of this run is %s", url, guard.token)
    else:
        logger.info("operations: %s; to act there, give it the token that is set", url)
