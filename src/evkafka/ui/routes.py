"""The paths of the operations page: what is asked, who may, what is answered."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from evkafka.dlq import LetterFilter, LetterPosition, ReplayReport, TakenOver
from evkafka.exceptions import EVKafkaError
from evkafka.serde.safe_text import NAME_CHARACTERS, lines, one_line
from evkafka.ui.app_view import OperatedApp
from evkafka.ui.auth import COOKIE, Authenticator, audit
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.configuration import config_of
from evkafka.ui.dead_letters import DeadLetters
from evkafka.ui.models import Done, Snapshot
from evkafka.ui.open_dead_letters import OpenDeadLetterCount
from evkafka.ui.record_browser import records_of, topics_of
from evkafka.ui.self_check import checks_of
from evkafka.ui.sessions import SESSION_S
from evkafka.ui.snapshot import snapshot, total_lag
from evkafka.ui.statistics import Statistics
from evkafka.ui.stream import SnapshotStream
from evkafka.web.encoding import Encoder, TooBusy, encoded
from evkafka.web.security import Refused, check_site

logger = logging.getLogger("evkafka.web")

BODY_BYTES = 64 * 1024
FORM_BYTES = 4 * 1024
MOST_IDS = 1000
WAITING = 100
"""Answers that wait to be encoded at most."""

SENTENCE_CHARACTERS = 2000
LONGEST = 2**63 - 1
"""Of an offset and of a time; the protocol has 64 bits for them."""

PARTITIONS = 2**31 - 1

_templates = Environment(
    loader=PackageLoader("evkafka.ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

Answer = Callable[[Request], Awaitable[Any]]


class Operations:
    """The operations page of one app, from before its start until its stop.

    Args:
        guard: who may look and act; None where the page is not served.
        mounted: in a server of somebody else's.
    """

    def __init__(self, app: OperatedApp, guard: Authenticator | None, *, mounted: bool = False) -> None:
        self._app = app
        self.guard = guard
        self._book = Statistics(app.telemetry)
        self._apart = BackgroundRunner()
        self._letters = DeadLetters(app, self._apart)
        self._open_letters = OpenDeadLetterCount(app, self._apart, lambda: self._book.dead_lettered)
        self._encoder = Encoder(WAITING)
        self._live = SnapshotStream(self._snapshot, self._note, self._encoder, one_by_one=mounted)

    def start(self) -> None:
        """In the app's loop, once it serves."""
        self._live.start()

    def end(self) -> None:
        """At the app's stop: nobody is waited for."""
        self._book.end()
        self._live.end()
        self._open_letters.end()
        self._apart.end()
        self._letters.end()
        self._encoder.end()

    def _snapshot(self) -> Snapshot:
        return snapshot(self._app, self._book, self._open_letters.look())

    def _note(self) -> None:
        self._book.note_lag(total_lag(self._app.status()))

    def routes(self) -> list[Route]:
        if self.guard is None:
            return [Route("/ui", self._not_served), Route("/ui/{rest:path}", self._not_served)]
        asked: Mapping[str, Answer] = {
            "letters": self._look_at_letters,
            "topics": self._look_at_topics,
            "records": self._look_at_records,
            "config": self._look_at_config,
            "check": self._check,
        }
        ordered: Mapping[str, Answer] = {
            "pause": self._pause,
            "resume": self._resume,
            "seek": self._seek,
            "letters/replay": self._replay,
            "letters/drop": self._drop,
        }
        return [
            Route("/ui", self._page),
            Route("/ui/", self._without_slash),
            Route("/ui/enter", self._enter, methods=["POST"]),
            Route("/ui/leave", self._leave, methods=["POST"]),
            Route("/ui/api/events", self._events),
            *(Route(f"/ui/api/{name}", self._looking(answer)) for name, answer in asked.items()),
            *(Route(f"/ui/api/{name}", self._acting(name, do), methods=["POST"]) for name, do in ordered.items()),
        ]

    # ------------------------------------------------------------------ the page

    async def _not_served(self, request: Request) -> Response:
        return Response(WHY_NOT + "\n", status_code=404, media_type="text/plain")

    async def _page(self, request: Request) -> Response:
        try:
            check_site(request, page=True)
            may = self._guard.may_look(request)
        except Refused as refused:
            return _refusal(refused)
        name = "ui.html" if may else "ui_enter.html"
        wrong, entered = "wrong" in request.query_params, self._guard.has_session(request)
        page = _templates.get_template(name).render(title=self._app.title, wrong=wrong, entered=entered)
        return HTMLResponse(page, status_code=200 if may else 401)

    async def _without_slash(self, request: Request) -> Response:
        """To a place beside this one, and never to the name in the request's Host header."""
        return RedirectResponse("../ui", status_code=307)

    async def _enter(self, request: Request) -> Response:
        """The form of whoever may not look yet."""
        try:
            check_site(request)
            body = await _body(request, FORM_BYTES)
            token = dict(parse_qsl(body.decode(errors="replace"), max_num_fields=10)).get("token", "")
            cookie = self._guard.enter(request, token)
        except Refused as refused:
            return _refusal(refused)
        except ValueError:
            return _refusal(Refused(400, "that is no form of this page"))
        audit(request, "enter", {}, "let in" if cookie else "refused: the token is wrong")
        back = RedirectResponse("../ui" if cookie else "../ui?wrong", status_code=303)
        if cookie is not None:
            secure = request.url.scheme == "https"
            back.set_cookie(COOKIE, cookie, max_age=int(SESSION_S), httponly=True, samesite="strict", secure=secure)
        return back

    async def _leave(self, request: Request) -> Response:
        """End the session that the form began."""
        try:
            check_site(request)
        except Refused as refused:
            return _refusal(refused)
        self._guard.leave(request)
        back = RedirectResponse("../ui", status_code=303)
        back.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return back

    async def _events(self, request: Request) -> Response:
        try:
            self._check_look(request)
        except Refused as refused:
            return _refusal(refused)
        if self._live.full:
            return _refusal(Refused(503, "as many look at this page as may"))
        unbuffered = {"x-accel-buffering": "no"}  # nginx would keep it back otherwise
        return StreamingResponse(self._live.stream(), media_type="text/event-stream", headers=unbuffered)

    def _check_look(self, request: Request) -> None:
        """
        Raises:
            Refused: another site's page asks, or somebody without the token.
        """
        check_site(request)
        if not self._guard.may_look(request):
            raise Refused(401, "looking needs the token: open the page anew")

    # ------------------------------------------------------------------ looking

    async def _look_at_letters(self, request: Request) -> object:
        asked = request.query_params
        return await self._letters.look(
            asked.get("topic") or None, asked.get("q", ""), closed=bool(asked.get("closed"))
        )

    async def _look_at_topics(self, request: Request) -> object:
        return await topics_of(self._app, self._apart)

    async def _look_at_records(self, request: Request) -> object:
        asked = request.query_params
        return await records_of(
            self._app,
            self._apart,
            asked.get("topic", ""),
            _number(asked, "partition", PARTITIONS) or 0,
            limit=_number(asked, "limit", LONGEST) or 50,
            offset=_number(asked, "offset", LONGEST),
            at_ms=_number(asked, "at_ms", LONGEST),
        )

    async def _look_at_config(self, request: Request) -> object:
        return await self._encoder.run(lambda: config_of(self._app))

    async def _check(self, request: Request) -> object:
        return await checks_of(self._app, self._apart)

    # ------------------------------------------------------------------ acting

    async def _pause(self, request: Request) -> object:
        given = await _order(request)
        self._app.consumer(_text(given, "consumer")).pause(
            _text(given, "topic"), _whole(given, "partition", PARTITIONS)
        )
        return Done(done="paused")

    async def _resume(self, request: Request) -> object:
        given = await _order(request)
        self._app.consumer(_text(given, "consumer")).resume(
            _text(given, "topic"), _whole(given, "partition", PARTITIONS)
        )
        return Done(done="resumed")

    async def _seek(self, request: Request) -> object:
        given = await _order(request)
        consumer, offset = self._app.consumer(_text(given, "consumer")), _whole(given, "offset", LONGEST)
        topic, partition = _partition(given)
        self._check_offset(consumer.name, topic, partition, offset)
        consumer.seek(topic, partition, offset)
        return Done(done=f"reads on at {offset}")

    def _check_offset(self, consumer: str, topic: str, partition: int, offset: int) -> None:
        """An offset behind the end would be reset by `auto_offset_reset`: not where somebody sent it.

        Raises:
            Refused: it lies behind the partition's end, as last seen.
        """
        for status in self._app.status().consumers:
            for one in status.partitions if status.name == consumer else ():
                if (one.topic, one.partition) == (topic, partition) and one.end is not None and offset > one.end:
                    raise Refused(400, f"{topic}[{partition}] ends at {one.end}: give an offset up to that")

    async def _replay(self, request: Request) -> object:
        given = await _order(request)
        to = given.get("to")
        if to not in ("handler", "topic"):
            raise Refused(400, 'to must be "handler" or "topic"')
        dry_run, report = given.get("dry_run") is True, self._report(request)
        return await self._letters.replay(
            _text(given, "topic"), _letters(given), report, to_handler=to == "handler", dry_run=dry_run
        )

    async def _drop(self, request: Request) -> object:
        given = await _order(request)
        return await self._letters.drop(_text(given, "topic"), _letters(given), self._report(request))

    def _report(self, request: Request) -> ReplayReport:
        """Of a replay or drop: the audit line tells it also where that ends early."""
        self._open_letters.note_change()
        report = request.state.report = ReplayReport()
        return report

    # ------------------------------------------------------------------ around each

    @property
    def _guard(self) -> Authenticator:
        assert self.guard is not None
        return self.guard

    def _looking(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            try:
                self._check_look(request)
            except Refused as refused:
                return _refusal(refused)
            return await self._answered(answer, request)

        return answered

    def _acting(self, name: str, do: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def done(request: Request) -> Response:
            try:
                self._guard.check_order(request)
            except Refused as refused:
                if refused.status != 429:  # said once, when the tokens became too many
                    audit(request, name, {}, f"refused: {refused}")
                return _refusal(refused)
            ended = "ended early, by the app's stop or the browser's leaving"
            try:
                response = await self._answered(do, request)
                ended = bytes(response.body).decode()[:500]
                return response
            except Exception as error:
                ended = f"failed: {error!r}"
                raise
            finally:
                order: Mapping[str, object] = getattr(request.state, "order", {})
                report = getattr(request.state, "report", None)
                audit(request, name, order, ended if report is None else f"{report}; {ended}")
                if report is not None:
                    self._open_letters.note_change()

        return done

    async def _answered(self, answer: Answer, request: Request) -> Response:
        """What could not be answered is a sentence, with the status that fits."""
        try:
            told = await answer(request)
            return Response(await self._encoder.run(lambda: encoded(told)), media_type="application/json")
        except Refused as refused:
            return _refusal(refused)
        except TooBusy as error:
            return _refusal(Refused(503, str(error)))
        except TakenOver as error:
            return _refusal(Refused(409, str(error)))
        except (EVKafkaError, RuntimeError) as error:
            return _refusal(Refused(400, str(error)))
        except TimeoutError:
            return _refusal(Refused(504, "that took too long, and was given up; the command line has no such limit"))


WHY_NOT = (
    "the operations page is not served: others can reach this address, and no token is set."
    " Give the app one, EVKafkaApp(ui_token=...) or EVKAFKA_UI_TOKEN in its environment; or listen on 127.0.0.1"
)


def _refusal(refused: Refused) -> Response:
    told = {"error": lines(str(refused), SENTENCE_CHARACTERS)}
    return Response(encoded(told), status_code=refused.status, media_type="application/json")


async def _body(request: Request, most: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise Refused(413, f"no more than {most} bytes are taken here")
    except ClientDisconnect:
        raise Refused(408, "the rest of the request did not come") from None
    return bytes(body)


async def _order(request: Request) -> Mapping[str, Any]:
    try:
        given = json.loads(await _body(request, BODY_BYTES) or b"null", parse_constant=_no_number, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the order is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise Refused(400, "the order is no JSON object")
    request.state.order = {name: value for name, value in given.items() if name != "token"}
    return given


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number of JSON")


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(400, f"{name} is missing")
    return value


def _partition(given: Mapping[str, Any]) -> tuple[str, int]:
    return _text(given, "topic"), _whole(given, "partition", PARTITIONS)


def _whole(given: Mapping[str, Any], name: str, most: int) -> int:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Refused(
            400, f"{name} must be a whole number from 0 to {most}, not {one_line(repr(value), NAME_CHARACTERS)}"
        )
    return value


def _letters(given: Mapping[str, Any]) -> LetterFilter:
    """The letters that an order is about: by `places`, each of one letter, or by `ids`, each of one record."""
    if "places" not in given:
        return LetterFilter(ids=frozenset(_texts(given, "ids", "ids")))
    try:
        return LetterFilter(places=frozenset(map(LetterPosition.parse, _texts(given, "places", "places"))))
    except ValueError as error:
        raise Refused(400, str(error)) from None


def _texts(given: Mapping[str, Any], name: str, what: str) -> list[str]:
    texts = given.get(name)
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise Refused(400, f"{name} must be a list of dead letters' {what}, and not empty")
    if len(texts) > MOST_IDS:
        raise Refused(400, f"no more than {MOST_IDS} at once; `evkafka dlq` takes any number")
    return texts


def _number(asked: Mapping[str, str], name: str, most: int) -> int | None:
    value = asked.get(name)
    if value is None or value == "":
        return None
    try:
        number = int(value)
    except ValueError:
        raise Refused(400, f"{name} must be a whole number, not {value[:50]!r}") from None
    if not 0 <= number <= most:
        raise Refused(400, f"{name} must be a whole number from 0 to {most}, not {value[:50]!r}")
    return number
