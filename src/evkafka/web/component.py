"""Starts and stops the web server of an app. Modules that need the extra are imported when it starts."""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any

from evkafka.web import require_extra

if TYPE_CHECKING:
    from evkafka.http.server import WebServer
    from evkafka.ui.operated_app import OperatedApp
    from evkafka.ui.routes import OperationsPage

logger = logging.getLogger("evkafka.web")

TOKEN_VARIABLE = "EVKAFKA_UI_TOKEN"  # noqa: S105  # nosec B105 # the name of the variable

WEAK = (
    "other machines can reach the dashboard, and its token is short enough to be guessed."
    " Use one of 16 random characters or more: openssl rand -hex 16"
)


class WebComponent:
    """Serves an app's pages on their own address."""

    def __init__(self, app: OperatedApp, *, host: str, port: int, ui_token: str | None) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._ui_token = ui_token
        self._server: WebServer | None = None
        self._operations: OperationsPage | None = None

    def import_modules_and_create_pages(self) -> None:
        """Prepare, before anything of the app starts. The dashboard counts events from now on.

        This imports all modules of the web server. `start` is called when the consumers have joined their groups: an
        import would then block the event loop, and so the heartbeats, for seconds in a process with little CPU time.

        Raises:
            ConfigError: the extra is not installed.
        """
        require_extra()
        importlib.import_module("evkafka.web.application")
        from evkafka.http.server import is_loopback

        self._operations = _create_operations_page(self._app, self._ui_token, open_to_read=is_loopback(self._host))

    async def start(self) -> None:
        """
        Raises:
            ConfigError: the server cannot listen on the address.
        """
        from evkafka.http.server import WebServer, is_loopback
        from evkafka.web.application import web_app

        operations = self._operations
        assert operations is not None
        local = is_loopback(self._host)
        self._server = WebServer(
            lambda: web_app(self._app, operations, only_local_names=local), host=self._host, port=self._port
        )
        await self._server.start()
        operations.start_sampling()
        _log_how_to_open(operations, f"{self._server.url}ui")

    async def stop(self) -> None:
        if self._operations is not None:
            self._operations.shut_down()
        if self._server is not None:
            await self._server.stop()

    @property
    def url(self) -> str | None:
        """The address of the pages; None while the server does not run."""
        return self._server.url if self._server is not None else None


def pages_as_asgi_app(app: OperatedApp, ui_token: str | None) -> Any:
    """The pages as an ASGI app for another server. Who can reach that is not known, so reading needs a token too.

    Raises:
        ConfigError: the extra is not installed.
    """
    require_extra()
    from evkafka.web.application import web_app

    operations = _create_operations_page(app, ui_token, open_to_read=False, mounted=True)
    if operations.auth is not None and operations.auth.is_weak:
        logger.warning("the mounted dashboard: %s", WEAK)
    return web_app(app, operations)


def _create_operations_page(
    app: OperatedApp, ui_token: str | None, *, open_to_read: bool, mounted: bool = False
) -> OperationsPage:
    from evkafka.ui.auth import Authenticator
    from evkafka.ui.routes import OperationsPage

    token = ui_token or os.environ.get(TOKEN_VARIABLE) or None
    auth = Authenticator(token, open_to_read=open_to_read) if token is not None or open_to_read else None
    return OperationsPage(app, auth, mounted=mounted)


def _log_how_to_open(operations: OperationsPage, url: str) -> None:
    from evkafka.ui.routes import NOT_SERVED

    auth = operations.auth
    if auth is not None and auth.is_weak:
        logger.warning("%s: %s", url, WEAK)
    if auth is None:
        logger.warning("%s: %s", url, NOT_SERVED)
    elif auth.is_generated:
        logger.info("dashboard: %s; token of this run, for actions: %s", url, auth.token)
    else:
        logger.info("dashboard: %s; actions need the token that is set", url)
