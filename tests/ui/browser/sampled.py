"""The dashboard with sample answers, for cases that a real app does not produce on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from evkafka.http.security import SecureHeaders
from evkafka.http.server import WebServer
from evkafka.ui.stream import INTERVAL_S
from evkafka.web.application import STATIC, UI_STATIC

SAMPLES = Path(__file__).parents[1] / "samples"
TOKEN = "the-token-of-the-samples"
APP = "--app flights:app"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


class Sampled:
    """Answers with samples, which a test may change, and records the actions.

    Attributes:
        orders: path and body of every order that came with the token.
        failing: the dead letters that a replay fails, as in its answer.
        asked: the query of every request for dead letters.
        refusal: the error of every order; empty if they succeed.
        refuse: makes the stream end, and answers it with 503 until it is False again.
        silent: the snapshot is not sent again and again, as an app does once a second.
    """

    def __init__(self) -> None:
        self.snapshot: dict[str, Any] = sample("snapshot")
        self.answers = {name: sample(name) for name in ("letters", "topics", "records", "history", "config", "check")}
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.failing: list[dict[str, str]] = []
        self.asked: list[dict[str, str]] = []
        self.refusal = ""
        self.refuse = False
        self.silent = False
        self.url = ""
        self._streams: set[asyncio.Queue[str | None]] = set()

    @property
    def watched(self) -> bool:
        return bool(self._streams)

    def tell(self, change: Callable[[dict[str, Any]], object] = lambda snapshot: None) -> None:
        """Send the snapshot to every open page."""
        change(self.snapshot)
        self._send(f"data: {json.dumps(self.snapshot)}\n\n")

    def cut(self) -> None:
        """End every stream, and refuse new ones until `refuse` is False."""
        self.refuse = True
        self._send(None)

    def _send(self, part: str | None) -> None:
        for stream in self._streams:
            stream.put_nowait(part)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Sampled]:
        server = WebServer(self._asgi, host="127.0.0.1", port=0)
        await server.start()
        self.url = server.url
        repeating = asyncio.ensure_future(self._repeat())
        yield self
        repeating.cancel()
        self._send(None)
        await server.stop()

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            if not self.silent:
                self.tell()

    def _asgi(self) -> Starlette:
        routes = [
            Route("/ui", self._page),
            Route("/ui/api/events", self._stream),
            Route("/ui/api/{name:path}", self._answer),
            Route("/ui/api/{name:path}", self._order, methods=["POST"]),
        ]
        made = Starlette(routes=routes, middleware=[Middleware(SecureHeaders)])
        made.mount("/static/ui", StaticFiles(directory=UI_STATIC))
        made.mount("/static", StaticFiles(directory=STATIC))
        return made

    async def _page(self, request: Request) -> Response:
        environment = Environment(loader=PackageLoader("evkafka.ui"), autoescape=True, undefined=StrictUndefined)
        return HTMLResponse(environment.get_template("ui.html").render(title="Flights", app_option=APP))

    async def _stream(self, request: Request) -> Response:
        if self.refuse:
            return JSONResponse({"error": "not now"}, status_code=503)
        mine: asyncio.Queue[str | None] = asyncio.Queue()
        mine.put_nowait(f"data: {json.dumps(self.snapshot)}\n\n")
        self._streams.add(mine)

        async def parts() -> AsyncIterator[str]:
            try:
                while (part := await mine.get()) is not None:
                    yield part
            finally:
                self._streams.discard(mine)

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def _answer(self, request: Request) -> Response:
        name, query = request.path_params["name"], dict(request.query_params)
        if name == "letters":
            self.asked.append(query)
            return JSONResponse(page_of(self.answers[name], query))
        return JSONResponse(self.answers[name])

    async def _order(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "this needs the token"}, status_code=401)
        if request.path_params["name"] == "unlock":
            return JSONResponse({"done": "unlocked"})
        body = await request.json()
        self.orders.append((request.path_params["name"], body))
        if self.refusal:
            return JSONResponse({"error": self.refusal}, status_code=409)
        chosen = len(body["places"]) if "places" in body else self.answers["letters"]["counts"]["open"]
        failed = [one for one in self.failing if body.get("places") is None or one["place"] in body["places"]]
        done = 0 if body.get("dry_run") else chosen - len(failed)
        return JSONResponse({"chosen": chosen, "done": done, "failed": failed, "failed_count": len(failed)})


def page_of(answer: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """The page of a list of dead letters that was asked for, or the one dead letter."""
    letters = answer["letters"]
    if "at" in query:
        return answer | {"letters": [one for one in letters if one["place"] == query["at"]]}
    first = int(query.get("skip", 0))
    return answer | {"letters": letters[first : first + int(query.get("limit", 200))]}
