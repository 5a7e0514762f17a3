"""The paths of the dashboard: which request may be made by whom, and which function answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from evkafka.control import ConsumerControl
from evkafka.dlq import ReplayReport, TakenOver
from evkafka.exceptions import EVKafkaError
from evkafka.http.encoding import encode_json
from evkafka.http.security import RequestRefused, refuse_other_sites
from evkafka.http.single_thread_executor import SingleThreadExecutor, TooBusy
from evkafka.serde.safe_text import escape_multiline_text
from evkafka.ui.app_option import app_option_text
from evkafka.ui.auth import COOKIE, Authenticator, log_action
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.configuration import config_sections
from evkafka.ui.dead_letter_topics import DeadLetterTopics
from evkafka.ui.dead_letters import DeadLetterScreen
from evkafka.ui.history import DETAILS
from evkafka.ui.lag_sampler import LagSampler
from evkafka.ui.models import ActionResult
from evkafka.ui.open_dead_letters import OpenDeadLetterCount
from evkafka.ui.operated_app import OperatedApp
from evkafka.ui.record_browser import list_topics, read_records
from evkafka.ui.record_query import parse_record_query
from evkafka.ui.request_fields import (
    LONGEST,
    PARTITION_MAX,
    number_field,
    number_parameter,
    read_body_bytes,
    read_dead_letter_filter,
    read_json_object,
    read_list_query,
    text_field,
    topic_and_partition_fields,
)
from evkafka.ui.self_check import run_self_check
from evkafka.ui.sessions import SESSION_S
from evkafka.ui.snapshot import Snapshots
from evkafka.ui.statistics import Statistics
from evkafka.ui.stream import SnapshotStream

FORM_BYTES = 4 * 1024
ENCODING_QUEUE = 100
"""Most answers that wait to be encoded."""

SENTENCE_CHARACTERS = 2000

NOT_SERVED = (
    "the dashboard is not served: other machines can reach this address, and no token is set."
    " Set EVKafkaApp(ui_token=...) or EVKAFKA_UI_TOKEN in the environment, or listen on 127.0.0.1"
)

_templates = Environment(
    loader=PackageLoader("evkafka.ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

Action = Callable[[Request], Awaitable[Any]]
"""Returns the answer, which is encoded as JSON."""


class OperationsPage:
    """The dashboard of one app, from before the app's start until its stop.

    Args:
        auth: decides who may read and act; None if the page is not served.
        mounted: True if another server serves the page.
    """

    def __init__(self, app: OperatedApp, auth: Authenticator | None, *, mounted: bool = False) -> None:
        self._app = app
        self.auth = auth
        self._statistics = Statistics(app.telemetry)
        self._background = BackgroundRunner()
        topics = DeadLetterTopics(app, self._background)
        self._open_dead_letters = OpenDeadLetterCount(self._background, topics, lambda: self._statistics.dead_lettered)
        self._dead_letters = DeadLetterScreen(app, self._background, topics, self._open_dead_letters.counts_by_topic)
        self._encoder = SingleThreadExecutor(ENCODING_QUEUE)
        snapshots = Snapshots(app, self._statistics, self._open_dead_letters.count_if_due)
        self._stream = SnapshotStream(snapshots.create, self._encoder, one_by_one=mounted)
        self._sampler = LagSampler(self._sample_statistics_once, lambda: self._stream.viewers)

    def start_sampling(self) -> None:
        """Call it in the app's event loop, when the web server listens."""
        self._sampler.start()

    def shut_down(self) -> None:
        """Call it when the app stops. Does not wait for requests."""
        self._statistics.stop_counting()
        self._sampler.stop()
        self._stream.end_all_streams()
        self._open_dead_letters.cancel_count()
        self._background.shut_down()
        self._dead_letters.shut_down()
        self._encoder.shut_down_without_waiting()

    def _sample_statistics_once(self) -> None:
        self._statistics.sample_status(self._app.status())

    def routes(self) -> list[Route]:
        if self.auth is None:
            return [Route("/ui", self._respond_not_served), Route("/ui/{rest:path}", self._respond_not_served)]
        reads: Mapping[str, Action] = {
            "letters": self._list_dead_letters,
            "topics": self._list_topics,
            "records": self._read_records,
            "history": self._read_history,
            "config": self._read_configuration,
            "check": self._run_self_check,
        }
        writes: Mapping[str, Action] = {
            "unlock": self._answer_that_token_is_right,
            "pause": self._pause_partition,
            "resume": self._resume_partition,
            "seek": self._seek_partition,
            "letters/replay": self._replay_dead_letters,
            "letters/drop": self._drop_dead_letters,
        }
        return [
            Route("/ui", self._serve_page),
            Route("/ui/", self._redirect_to_url_without_slash),
            Route("/ui/enter", self._log_in, methods=["POST"]),
            Route("/ui/leave", self._log_out, methods=["POST"]),
            Route("/ui/api/events", self._stream_snapshots),
            *(Route(f"/ui/api/{name}", self._endpoint_from_read_action(action)) for name, action in reads.items()),
            *(
                Route(f"/ui/api/{name}", self._endpoint_from_write_action(name, action), methods=["POST"])
                for name, action in writes.items()
            ),
        ]

    # ------------------------------------------------------------------ the page

    async def _respond_not_served(self, request: Request) -> Response:
        return Response(NOT_SERVED + "\n", status_code=404, media_type="text/plain")

    async def _serve_page(self, request: Request) -> Response:
        try:
            refuse_other_sites(request, page=True)
            may_read = self._authenticator.may_read(request)
        except RequestRefused as refused:
            return _refusal_response(refused)
        if not may_read:
            return self._render_token_form("This token is wrong." if "wrong" in request.query_params else "")
        page = _templates.get_template("ui.html").render(
            title=self._app.title, entered=self._authenticator.has_session(request), app_option=self._app_option
        )
        return HTMLResponse(page)

    def _render_token_form(self, refusal: str, *, status: int = 401, base: str = "") -> Response:
        """
        Args:
            refusal: why the last token was refused; empty if there was none.
            base: the path from the request to the page.
        """
        form = _templates.get_template("ui_enter.html")
        return HTMLResponse(form.render(title=self._app.title, refusal=refusal, base=base), status_code=status)

    @cached_property
    def _app_option(self) -> str:
        return app_option_text(self._app)

    async def _redirect_to_url_without_slash(self, request: Request) -> Response:
        """A relative redirect: the Host header of the request cannot change where it leads."""
        return RedirectResponse("../ui", status_code=307)

    async def _log_in(self, request: Request) -> Response:
        """The form for the token, which starts a session."""
        try:
            refuse_other_sites(request)
            body = await read_body_bytes(request, FORM_BYTES)
            token = dict(parse_qsl(body.decode(errors="replace"), max_num_fields=10)).get("token", "")
            cookie = self._authenticator.begin_session(request, token)
        except RequestRefused as refused:
            if refused.status == 429:
                return self._render_token_form(str(refused).capitalize() + ".", status=429, base="../")
            return _refusal_response(refused)
        except ValueError:
            return _refusal_response(RequestRefused(400, "the body is not the form of this page"))
        log_action(request, "enter", {}, "session started" if cookie else "refused: the token is wrong")
        back = RedirectResponse("../ui" if cookie else "../ui?wrong", status_code=303)
        if cookie is not None:
            secure = request.url.scheme == "https"
            back.set_cookie(COOKIE, cookie, max_age=int(SESSION_S), httponly=True, samesite="strict", secure=secure)
        return back

    async def _log_out(self, request: Request) -> Response:
        """End the session of the browser."""
        try:
            refuse_other_sites(request)
        except RequestRefused as refused:
            return _refusal_response(refused)
        self._authenticator.end_session(request)
        back = RedirectResponse("../ui", status_code=303)
        back.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return back

    async def _stream_snapshots(self, request: Request) -> Response:
        try:
            self._check_may_read(request)
        except RequestRefused as refused:
            return _refusal_response(refused)
        self._sampler.start()  # of a mounted page: its loop is not known before
        if self._stream.is_full:
            return _refusal_response(RequestRefused(503, "too many viewers have this page open: close one, and reload"))
        unbuffered = {"x-accel-buffering": "no"}  # nginx buffers the stream otherwise
        return StreamingResponse(self._stream.stream(), media_type="text/event-stream", headers=unbuffered)

    def _check_may_read(self, request: Request) -> None:
        """
        Raises:
            RequestRefused: the request comes from another site's page, or has no token.
        """
        refuse_other_sites(request)
        if not self._authenticator.may_read(request):
            raise RequestRefused(401, "reading needs the token: reload the page")

    # ------------------------------------------------------------------ reading

    async def _list_dead_letters(self, request: Request) -> object:
        query = request.query_params
        return await self._dead_letters.list(
            query.get("topic") or None,
            read_list_query(query),
            consumer=query.get("consumer", ""),
            source=query.get("source", ""),
        )

    async def _list_topics(self, request: Request) -> object:
        return await list_topics(self._app, self._background)

    async def _read_records(self, request: Request) -> object:
        return await read_records(self._app, self._background, parse_record_query(request.query_params))

    async def _read_history(self, request: Request) -> object:
        query = request.query_params
        span = query.get("span", "5m")
        if span not in DETAILS:
            raise RequestRefused(400, f"span must be one of {', '.join(DETAILS)}")
        consumer, topic = query.get("consumer"), query.get("topic")
        partition = number_parameter(query, "partition", PARTITION_MAX)
        if consumer is None:
            return self._statistics.app_history(span)
        return self._statistics.consumer_history(span, consumer, topic, partition)

    async def _read_configuration(self, request: Request) -> object:
        return await self._encoder.run_function(lambda: config_sections(self._app))

    async def _run_self_check(self, request: Request) -> object:
        return await run_self_check(self._app, self._background)

    # ------------------------------------------------------------------ acting

    async def _answer_that_token_is_right(self, request: Request) -> object:
        """Does nothing: the page learns whether the token that a person entered is right."""
        return ActionResult(done="unlocked")

    async def _pause_partition(self, request: Request) -> object:
        fields = await read_json_object(request)
        self._consumer_control(fields).pause(*topic_and_partition_fields(fields))
        return ActionResult(done="paused")

    async def _resume_partition(self, request: Request) -> object:
        fields = await read_json_object(request)
        self._consumer_control(fields).resume(*topic_and_partition_fields(fields))
        return ActionResult(done="resumed")

    async def _seek_partition(self, request: Request) -> object:
        fields = await read_json_object(request)
        consumer, offset = self._consumer_control(fields), number_field(fields, "offset", LONGEST)
        topic, partition = topic_and_partition_fields(fields)
        self._check_offset_not_past_end(consumer.name, topic, partition, offset)
        consumer.seek(topic, partition, offset)
        return ActionResult(done=f"reads on at {offset}")

    def _consumer_control(self, fields: Mapping[str, Any]) -> ConsumerControl:
        return self._app.consumer(text_field(fields, "consumer"))

    def _check_offset_not_past_end(self, consumer: str, topic: str, partition: int, offset: int) -> None:
        """Refuse an offset past the end: `auto_offset_reset` would replace it by another one.

        Raises:
            RequestRefused: the offset is past the end of the partition, as last known.
        """
        for status in self._app.status().consumers:
            for known in status.partitions if status.name == consumer else ():
                if (
                    (known.topic, known.partition) == (topic, partition)
                    and known.end is not None
                    and offset > known.end
                ):
                    raise RequestRefused(400, f"{topic}[{partition}] ends at {known.end}: give an offset up to that")

    async def _replay_dead_letters(self, request: Request) -> object:
        fields = await read_json_object(request)
        to = fields.get("to")
        if to not in ("handler", "topic"):
            raise RequestRefused(400, 'to must be "handler" or "topic"')
        dry_run, report = fields.get("dry_run") is True, self._create_replay_report_for_audit_log(request)
        topic, wanted = text_field(fields, "topic"), read_dead_letter_filter(fields)
        return await self._dead_letters.replay(topic, wanted, report, to_handler=to == "handler", dry_run=dry_run)

    async def _drop_dead_letters(self, request: Request) -> object:
        fields = await read_json_object(request)
        topic, wanted = text_field(fields, "topic"), read_dead_letter_filter(fields)
        return await self._dead_letters.drop(topic, wanted, self._create_replay_report_for_audit_log(request))

    def _create_replay_report_for_audit_log(self, request: Request) -> ReplayReport:
        """Create the report of a replay or drop. The audit log has it even if the replay ends early."""
        self._open_dead_letters.count_again_soon()
        report = request.state.report = ReplayReport()
        return report

    # ------------------------------------------------------------------ around each

    @property
    def _authenticator(self) -> Authenticator:
        assert self.auth is not None
        return self.auth

    def _endpoint_from_read_action(self, action: Action) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                self._check_may_read(request)
            except RequestRefused as refused:
                return _refusal_response(refused)
            return await self._run_action_and_respond_json(action, request)

        return respond

    def _endpoint_from_write_action(self, name: str, action: Action) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                self._authenticator.check_may_act(request)
            except RequestRefused as refused:
                if refused.status != 429:  # logged once, when there were too many wrong tokens
                    log_action(request, name, {}, f"refused: {refused}")
                return _refusal_response(refused)
            ended = "ended early: the app stopped, or the browser disconnected"
            try:
                response = await self._run_action_and_respond_json(action, request)
                ended = bytes(response.body).decode()[:500]
                return response
            except Exception as error:
                ended = f"failed: {error!r}"
                raise
            finally:
                order: Mapping[str, object] = getattr(request.state, "order", {})
                report = getattr(request.state, "report", None)
                log_action(request, name, order, ended if report is None else f"{report}; {ended}")
                if report is not None:
                    self._open_dead_letters.count_again_soon()

        return respond

    async def _run_action_and_respond_json(self, action: Action, request: Request) -> Response:
        """Run the action, and answer with its result as JSON; an error becomes a status and a sentence."""
        try:
            answer = await action(request)
            return Response(
                await self._encoder.run_function(lambda: encode_json(answer)), media_type="application/json"
            )
        except RequestRefused as refused:
            return _refusal_response(refused)
        except TooBusy as error:
            return _refusal_response(RequestRefused(503, str(error)))
        except TakenOver as error:
            return _refusal_response(RequestRefused(409, str(error)))
        except (EVKafkaError, RuntimeError) as error:
            return _refusal_response(RequestRefused(400, str(error)))
        except TimeoutError:
            return _refusal_response(
                RequestRefused(504, "the clusters did not answer in time; the command line has no such limit")
            )


def _refusal_response(refused: RequestRefused) -> Response:
    answer = {"error": escape_multiline_text(str(refused), SENTENCE_CHARACTERS)}
    return Response(encode_json(answer), status_code=refused.status, media_type="application/json")
