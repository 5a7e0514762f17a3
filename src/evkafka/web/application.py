"""The web part as an ASGI app: which path answers what. Mountable anywhere; all links in its pages are relative."""

from __future__ import annotations

import json
from collections.abc import Callable
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

from evkafka import ui
from evkafka.exceptions import ConfigError
from evkafka.observe.health import Check, Health
from evkafka.ui.routes import Operations
from evkafka.web import contract
from evkafka.web.app_view import AppView
from evkafka.web.encoding import Encoder, TooBusy, encoded
from evkafka.web.search import Index
from evkafka.web.security import OnlyLocalNames, Refused, SecureHeaders, check_site

WAITING = 16
"""Pages that wait to be made at most."""

STATIC = Path(__file__).parent / "static"
UI_STATIC = Path(ui.__file__).parent / "static"


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
    own = [Middleware(OnlyLocalNames)] if only_local_names else []
    made = Starlette(routes=routes, middleware=own, exception_handlers=ANSWERS)
    made.mount("/static/ui", StaticFiles(directory=UI_STATIC), name="ui-static")
    made.mount("/static", StaticFiles(directory=STATIC), name="static")
    made.router.redirect_slashes = False  # those redirects lead to the name in the request's Host header
    return SecureHeaders(made)  # around all of it, the answer to an error that nobody expected among them


async def _cannot(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=500)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return PlainTextResponse(f"{error}\n", status_code=error.status)


async def _busy(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=503)


ANSWERS = {ConfigError: _cannot, Refused: _refused, TooBusy: _busy}


class _Pages:
    """What each path answers."""

    def __init__(self, app: AppView, *, with_operations: bool) -> None:
        self._app = app
        self._with_operations = with_operations
        self._encoder = Encoder(WAITING)
        self._scrapes = Encoder(WAITING)  # of its own: a contract of a thousand types takes seconds
        self._document: dict[str, Any] | None = None
        self._kept: dict[str, bytes] = {}  # the document as page, JSON and YAML, once the app has started
        self._index: Index | None = None

    # ------------------------------------------------------------------ the contract

    async def contract(self, request: Request) -> Response:
        check_site(request, page=True)
        query = contract.words_of(request.query_params.get("q", ""))
        return HTMLResponse(await (self._searched(query) if query else self._as("page", self._rendered)))

    async def asyncapi_json(self, request: Request) -> Response:
        return Response(await self._as("json", encoded), media_type="application/json")

    async def asyncapi_yaml(self, request: Request) -> Response:
        return Response(await self._as("yaml", lambda told: as_yaml(told).encode()), media_type="application/yaml")

    async def _as(self, kind: str, make: Callable[[dict[str, Any]], bytes]) -> bytes:
        """The document in one of its forms. Each is made once, when the app has started: it costs up to seconds."""

        def made() -> bytes:
            document = self._told()
            kept = self._kept if self._document is not None else {}
            if kind not in kept:
                kept[kind] = make(document)
            return kept[kind]

        return self._kept[kind] if kind in self._kept else await self._encoder.run(made)

    def _rendered(self, document: dict[str, Any]) -> bytes:
        return contract.render(document, with_operations=self._with_operations).encode()

    async def _searched(self, query: str) -> bytes:
        def found() -> bytes:
            document = self._told()
            if self._index is None or self._index.document is not document:
                self._index = Index(document)
            parts = self._index.having(query)
            return contract.render(document, query, found=parts, with_operations=self._with_operations).encode()

        return await self._encoder.run(found)

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
        try:
            text, media_type = await self._scrapes.run(metrics.scraping(request.headers.get("accept", "")))
        except TooBusy as busy:
            return PlainTextResponse(f"{busy}\n", status_code=503)
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
