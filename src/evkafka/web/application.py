"""The web part as an ASGI app: which path answers what. Mountable anywhere; all links in its pages are relative."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from evkafka.exceptions import ConfigError
from evkafka.observe.health import Check, Health
from evkafka.web import contract
from evkafka.web.security import OnlyLocalNames, SecureHeaders
from evkafka.web.ui.routes import Operations
from evkafka.web.view import AppView

STATIC = Path(__file__).parent / "static"


def web_app(app: AppView, operations: Operations, *, only_local_names: bool = False) -> ASGIApp:
    """The ASGI app of an app's web part.

    Args:
        operations: the app's operations page.
        only_local_names: refuse requests for other names than this machine's own; for one that listens on loopback.
    """
    pages = _Pages(app, with_operations=operations.guard is not None)
    routes = [
        Route("/", pages.contract),
        Route("/asyncapi.json", pages.asyncapi_json),
        Route("/asyncapi.yaml", pages.asyncapi_yaml),
        Route("/livez", pages.livez),
        Route("/healthz", pages.livez),
        Route("/readyz", pages.readyz),
        Route("/startupz", pages.startupz),
        Route("/metrics", pages.metrics),
        *operations.routes(),
    ]
    own = [Middleware(SecureHeaders), *([Middleware(OnlyLocalNames)] if only_local_names else [])]
    made = Starlette(routes=routes, middleware=own, exception_handlers={ConfigError: _cannot})
    made.mount("/static", StaticFiles(directory=STATIC), name="static")
    return made


async def _cannot(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=500)


class _Pages:
    """What each path answers."""

    def __init__(self, app: AppView, *, with_operations: bool) -> None:
        self._app = app
        self._with_operations = with_operations
        self._document: dict[str, Any] | None = None
        self._page = ""

    # ------------------------------------------------------------------ the contract

    async def contract(self, request: Request) -> Response:
        query = request.query_params.get("q", "")
        return HTMLResponse(await asyncio.to_thread(self._rendered, query))

    async def asyncapi_json(self, request: Request) -> Response:
        document = await asyncio.to_thread(self._told)
        return JSONResponse(document)

    async def asyncapi_yaml(self, request: Request) -> Response:
        text = await asyncio.to_thread(lambda: as_yaml(self._told()))
        return Response(text, media_type="application/yaml")

    def _rendered(self, query: str) -> str:
        if query.strip():
            return contract.render(self._told(), query, with_operations=self._with_operations)
        document = self._told()
        if not self._page or document is not self._document:
            self._page = contract.render(document, with_operations=self._with_operations)
        return self._page

    def _told(self) -> dict[str, Any]:
        """The document. Once the app has started, nothing can be declared any more: it is made once, then."""
        if self._document is not None:
            return self._document
        document: dict[str, Any] = json.loads(self._app.asyncapi())
        if self._app.started:
            self._document = document
        return document

    # ------------------------------------------------------------------ health

    async def livez(self, request: Request) -> Response:
        return _answer(request, self._app.health.live(self._app.status()))

    async def readyz(self, request: Request) -> Response:
        return _answer(request, self._app.health.ready(self._app.status()))

    async def startupz(self, request: Request) -> Response:
        return _answer(request, self._app.health.started(self._app.status()))

    # ------------------------------------------------------------------ metrics

    async def metrics(self, request: Request) -> Response:
        metrics = self._app.metrics
        if metrics is None:
            return PlainTextResponse(
                "metrics need an extra that is not installed: pip install 'evkafka[metrics]'\n", status_code=404
            )
        text, media_type = await metrics.scraped(request.headers.get("accept", ""))
        return Response(text, media_type=media_type)


def _answer(request: Request, health: Health) -> Response:
    code = 200 if health.ok else 503
    if "verbose" not in request.query_params:
        return PlainTextResponse("ok\n" if health.ok else "not ok\n", status_code=code)
    told: dict[str, Any] = {"status": "ok" if health.ok else "not ok", "app": {}, "consumers": {}, "producers": {}}
    for check in health.checks:
        if check.kind == "app":
            told["app"] = _told(check)
        else:
            told.setdefault(f"{check.kind}s", {})[check.name] = _told(check)
    return JSONResponse(told, status_code=code)


def _told(check: Check) -> dict[str, Any]:
    return {"status": "ok" if check.ok else "not ok", "reasons": list(check.reasons), "notes": list(check.notes)}


def as_yaml(document: object) -> str:
    """The document as YAML, in its own order."""
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text
