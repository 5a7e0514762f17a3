"""The ASGI app of the web server, and its paths. It can be mounted anywhere: all links in its pages are relative."""

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
from evkafka.http.app_view import AppView
from evkafka.http.encoding import encode_json
from evkafka.http.security import OnlyLocalNames, RequestRefused, SecureHeaders, refuse_other_sites
from evkafka.http.single_thread_executor import SingleThreadExecutor, TooBusy
from evkafka.observe.health import Check, Health
from evkafka.ui.routes import OperationsPage
from evkafka.web import contract
from evkafka.web.search import SearchIndex

MAX_WAITING = 16
"""Most pages that wait to be rendered."""

STATIC = Path(__file__).parent / "static"
UI_STATIC = Path(ui.__file__).parent / "static"


def web_app(app: AppView, operations: OperationsPage, *, only_local_names: bool = False) -> ASGIApp:
    """Create the ASGI app.

    Args:
        only_local_names: refuse requests whose Host header does not name this machine. Use it on loopback addresses.
    """
    pages = _Pages(app, with_operations=operations.auth is not None)
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
    middleware = [Middleware(OnlyLocalNames)] if only_local_names else []
    asgi_app = Starlette(routes=routes, middleware=middleware, exception_handlers=EXCEPTION_HANDLERS)
    asgi_app.mount("/static/ui", StaticFiles(directory=UI_STATIC), name="ui-static")
    asgi_app.mount("/static", StaticFiles(directory=STATIC), name="static")
    asgi_app.router.redirect_slashes = False  # those redirects lead to the name in the request's Host header
    return SecureHeaders(asgi_app)  # outermost: answers to unexpected errors get the headers too


async def _respond_config_error(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=500)


async def _respond_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)
    return PlainTextResponse(f"{error}\n", status_code=error.status)


async def _respond_busy(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=503)


EXCEPTION_HANDLERS = {ConfigError: _respond_config_error, RequestRefused: _respond_refused, TooBusy: _respond_busy}


class _Pages:
    """The functions that answer the paths."""

    def __init__(self, app: AppView, *, with_operations: bool) -> None:
        self._app = app
        self._with_operations = with_operations
        self._renderer = SingleThreadExecutor(MAX_WAITING)
        # The scraper has a thread of its own: rendering a thousand types takes seconds.
        self._scraper = SingleThreadExecutor(MAX_WAITING)
        self._document: dict[str, Any] | None = None
        self._rendered: dict[str, bytes] = {}  # the document as page, JSON and YAML, when the app has started
        self._index: SearchIndex | None = None

    # ------------------------------------------------------------------ the contract

    async def contract(self, request: Request) -> Response:
        refuse_other_sites(request, page=True)
        query = contract.trim_and_shorten_query(request.query_params.get("q", ""))
        return HTMLResponse(
            await (
                self._render_search(query)
                if query
                else self._encode_asyncapi_document_in_form("page", self._render_contract_page)
            )
        )

    async def asyncapi_json(self, request: Request) -> Response:
        return Response(
            await self._encode_asyncapi_document_in_form("json", encode_json), media_type="application/json"
        )

    async def asyncapi_yaml(self, request: Request) -> Response:
        return Response(
            await self._encode_asyncapi_document_in_form("yaml", _encode_yaml), media_type="application/yaml"
        )

    async def _encode_asyncapi_document_in_form(self, form: str, encode: Callable[[dict[str, Any]], bytes]) -> bytes:
        """The document in one of its forms: page, JSON or YAML.

        It can take seconds, so it is done once when the app has started."""

        def render() -> bytes:
            document = self._current_document()
            rendered = self._rendered if self._document is not None else {}
            if form not in rendered:
                rendered[form] = encode(document)
            return rendered[form]

        return self._rendered[form] if form in self._rendered else await self._renderer.run_function(render)

    def _render_contract_page(self, document: dict[str, Any]) -> bytes:
        return contract.render_contract_page(document, with_operations=self._with_operations).encode()

    async def _render_search(self, query: str) -> bytes:
        def search() -> bytes:
            document = self._current_document()
            if self._index is None or self._index.document is not document:
                self._index = SearchIndex(document)
            found = self._index.find_parts_with_all_words(query)
            return contract.render_contract_page(
                document, query, found=found, with_operations=self._with_operations
            ).encode()

        return await self._renderer.run_function(search)

    def _current_document(self) -> dict[str, Any]:
        """The AsyncAPI document. When the app has started nothing more can be declared, so it is kept."""
        if self._document is not None:
            return self._document
        document: dict[str, Any] = json.loads(self._app.asyncapi())
        if self._app.started:
            self._document = document
        return document

    # ------------------------------------------------------------------ health

    async def livez(self, request: Request) -> Response:
        return _health_response(request, self._app.health.live(self._app.status()))

    async def readyz(self, request: Request) -> Response:
        return _health_response(request, self._app.health.ready(self._app.status()))

    async def startupz(self, request: Request) -> Response:
        return _health_response(request, self._app.health.started(self._app.status()))

    # ------------------------------------------------------------------ metrics

    async def metrics(self, request: Request) -> Response:
        metrics = self._app.metrics
        if metrics is None:
            return PlainTextResponse(
                "metrics need an extra that is not installed: pip install 'evkafka[metrics]'\n", status_code=404
            )
        text, media_type = await self._scraper.run_function(
            metrics.create_scrape_encoder(request.headers.get("accept", ""))
        )
        return Response(text, media_type=media_type)


def _health_response(request: Request, health: Health) -> Response:
    code = 200 if health.ok else 503
    if "verbose" not in request.query_params:
        return PlainTextResponse("ok\n" if health.ok else "not ok\n", status_code=code)
    answer: dict[str, Any] = {"status": "ok" if health.ok else "not ok", "app": {}, "consumers": {}, "producers": {}}
    for check in health.checks:
        if check.kind == "app":
            answer["app"] = _fields_of_check(check)
        else:
            answer.setdefault(f"{check.kind}s", {})[check.name] = _fields_of_check(check)
    return JSONResponse(answer, status_code=code)


def _fields_of_check(check: Check) -> dict[str, Any]:
    return {"status": "ok" if check.ok else "not ok", "reasons": list(check.reasons), "notes": list(check.notes)}


def _encode_yaml(document: dict[str, Any]) -> bytes:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()
