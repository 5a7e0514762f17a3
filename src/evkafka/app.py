"""The app: what a user declares is put together here, started, run and stopped."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from evkafka.asyncapi import Declared, Info, build_document
from evkafka.config import ConsumerConfig, ProducerConfig, consumer_settings
from evkafka.context import App
from evkafka.control import ConsumerControl
from evkafka.declared import DeclaredConsumer, DeclaredProducer
from evkafka.exceptions import ConfigError
from evkafka.forks import undo_in_children
from evkafka.handler import Handler
from evkafka.keys import ErrorPolicy
from evkafka.lifespan import Lifespan, as_lifespan
from evkafka.middleware import Middleware
from evkafka.observe.health import HealthBook
from evkafka.observe.logs import log_events
from evkafka.observe.loop_monitor import LoopMonitor, attempt_of, attempts_of
from evkafka.observe.metrics import Metrics, directory_of_processes, metrics_of
from evkafka.observe.peers import Peers
from evkafka.observe.tracing import spans_of
from evkafka.ports import Clock, Cluster
from evkafka.runner import ForcedExit, leave, run_to_exit_code, signals
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.consumer import Consumer
from evkafka.runtime.producer import EVKafkaProducer
from evkafka.runtime.status import AppStatus
from evkafka.runtime.stop_deadline import stop_limit_s
from evkafka.runtime.tiers import tier_name
from evkafka.sender import Sender
from evkafka.service import ConsumerPlan, Service, StartFailed
from evkafka.stop_guard import StopGuard, force_exit
from evkafka.telemetry import Telemetry
from evkafka.web.part import WebPart, mountable

logger = logging.getLogger("evkafka")

F = TypeVar("F", bound=Callable[..., Any])

ABANDONED_S = 1.0
"""After a failure or a forced stop, how long the threads and tasks that are left are waited for."""


class EVKafkaApp:
    """Consumers and producers that start, run and stop together.

    Args:
        config: the configuration of a first consumer, whose endpoints `app.event` declares.
        name: that consumer's name.
        middleware: the stack around every consumer's handler, outermost first; None (default) is
            `[Middleware(JsonTypedDecoderMiddleware)]`.
        lifespan: an async context manager factory without arguments; what it yields is `request.state`.
        title, version, description, terms_of_service, contact, license_info: for the contract document.
        web: serve contract page, health and metrics; needs the extra `evkafka[web]`. Default False.
        web_host: the address that it listens on; default "127.0.0.1", which only this machine can reach.
        web_port: default 8080; 0 takes a free one.
        expose_asyncapi, asyncapi_host, asyncapi_port: evkafka 0.7's names of the same.
        ui_token: what acting on the operations page needs (pause, resume, seek, replay, drop), and looking at it too
            where others can reach its address. Default None: `EVKAFKA_UI_TOKEN` of the environment, else one is made
            for each run, and logged; on an address that others can reach, the page is not served then.
        tracing: a span for each attempt and each send, by OpenTelemetry; needs the extra `evkafka[tracing]`.
            Default False.

    Raises:
        ConfigError: the configuration cannot work; all of its faults in one error.

    Attributes:
        dependency_overrides: dependency -> what stands in for it, for tests: `{open_session: open_fake}`. Read at
            each attempt.
        reset_dead_letter_limit: set it to True before the start, to go on where a `dead_letter_limit` was reached; the
            same as `evkafka run --reset-dead-letter-limit`.
        telemetry: where listeners subscribe, before the start, to what the runtime does.
        health: whether it is live, ready, started, for an `app.status()`.
    """

    def __init__(
        self,
        config: ConsumerConfig | None = None,
        name: str = "default",
        middleware: Sequence[Middleware] | None = None,
        lifespan: Lifespan | None = None,
        title: str = "EVKafka",
        version: str = "0.1.0",
        description: str | None = None,
        terms_of_service: str | None = None,
        contact: Mapping[str, str] | None = None,
        license_info: Mapping[str, str] | None = None,
        expose_asyncapi: bool = False,
        asyncapi_host: str = "127.0.0.1",
        asyncapi_port: int = 8080,
        *,
        web: bool = False,
        web_host: str | None = None,
        web_port: int | None = None,
        ui_token: str | None = None,
        tracing: bool = False,
    ) -> None:
        self.title = title
        self.version = version
        self.description = description
        self.terms_of_service = terms_of_service
        self.contact = contact
        self.license_info = license_info
        self.web = self.expose_asyncapi = web or expose_asyncapi
        self.web_host = self.asyncapi_host = asyncapi_host if web_host is None else web_host
        self.web_port = self.asyncapi_port = asyncapi_port if web_port is None else web_port
        self._ui_token = ui_token
        self.dependency_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.reset_dead_letter_limit = False
        self.telemetry = Telemetry()
        log_events(self.telemetry)
        self.health = HealthBook(self.telemetry)
        self._spans = spans_of() if tracing else None
        self._metrics: Metrics | None = None
        self._web_part: WebPart | None = None
        self._loop_monitor: LoopMonitor | None = None
        self._middleware = middleware
        self._lifespan = as_lifespan(lifespan)
        self._consumers: dict[str, DeclaredConsumer] = {}
        self._controls: dict[str, ConsumerControl] = {}
        self._producers: dict[str, DeclaredProducer] = {}
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = False
        self._should_exit = False
        self._signum = 0
        self._guard: StopGuard | None = None
        self._handler: Handler | None = None
        if config is not None:
            self._handler = Handler()
            self.add_consumer(config, self._handler, name)

    # ------------------------------------------------------------------ declaring

    def event(
        self,
        event_type: str,
        summary: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        *,
        on_error: ErrorPolicy | None = None,
        timeout_ms: int | None = None,
        concurrency: int | None = None,
        batch: bool = False,
        max_records: int = 500,
        max_wait_ms: int = 100,
    ) -> Callable[[F], F]:
        """Declare an endpoint of the consumer that the app was made with; see `Handler.event`.

        Raises:
            RuntimeError: the app was made without a `config`.
        """
        if self._handler is None:
            raise RuntimeError(
                "app.event needs a consumer: make the app with EVKafkaApp(config=...), "
                "or declare endpoints on a Handler and give it to app.add_consumer(config, handler)"
            )
        return self._handler.event(
            event_type,
            summary,
            description,
            tags,
            on_error=on_error,
            timeout_ms=timeout_ms,
            concurrency=concurrency,
            batch=batch,
            max_records=max_records,
            max_wait_ms=max_wait_ms,
        )

    def add_consumer(
        self,
        config: ConsumerConfig,
        handler: Handler | App,
        name: str | None = None,
        *,
        middleware: Sequence[Middleware] | None = None,
    ) -> None:
        """Declare a consumer: an independent member of its group, with its own connection and offsets.

        Args:
            config: see `ConsumerConfig`.
            handler: what takes its records; one handler may be given to several consumers.
            name: unique in the app; unnamed ones are `consumer-1`, `consumer-2`, in order.
            middleware: replaces the app's stack for this consumer.

        Raises:
            ConfigError: the configuration cannot work, or the name is taken.
            RuntimeError: the app has started.
        """
        self._refuse_when_started("a consumer")
        settings = consumer_settings(config)
        if not isinstance(handler, Handler) and not callable(handler):
            raise ConfigError(f"a consumer's handler is a Handler or an async callable, not {type(handler).__name__}")
        name = self._unique(name, "consumer", self._consumers)
        self._consumers[name] = DeclaredConsumer(name, settings, handler, middleware)
        self._consumers[name].check_policies()

    def consumer(self, name: str) -> ConsumerControl:
        """A consumer of this app, to pause and resume partitions and to seek in them: now, or while it runs.

        That of a consumer's retry topics is called as it is, and `.retry`.

        Raises:
            ConfigError: there is none of this name.
        """
        if name not in self._controls:
            settings = {one.name: one.settings for one in self._consumers.values()}
            if name not in settings:
                settings |= {
                    tier_name(one.name): found for one in self._consumers.values() if (found := one.retry_settings())
                }
            if name not in settings:
                names = ", ".join(map(repr, settings)) or "none"
                raise ConfigError(f"this app has no consumer named {name!r}; its consumers: {names}")
            self._controls[name] = ConsumerControl(name, settings[name], partial(self._at_work, name))
        return self._controls[name]

    def _at_work(self, name: str) -> tuple[asyncio.AbstractEventLoop, Consumer] | None:
        loop, service = self._loop, self._service
        consumer = service.consumers.get(name) if service is not None else None
        return (loop, consumer) if loop is not None and consumer is not None else None

    def add_producer(self, config: ProducerConfig, sender: Sender, name: str | None = None) -> None:
        """Declare a producer, over which the sender's endpoints send once the app has started.

        Raises:
            ConfigError: the configuration cannot work, the name is taken, or the sender has a producer already.
            RuntimeError: the app has started.
        """
        self._refuse_when_started("a producer")
        EVKafkaProducer(config)  # checks the configuration now; the one that runs is made at the start
        for other in self._producers.values():
            if other.sender is sender:
                raise ConfigError(
                    f"this Sender already sends over producer {other.name!r}: make a second Sender for a second one"
                )
        name = self._unique(name, "producer", self._producers)
        self._producers[name] = DeclaredProducer(name, config, sender)

    def _unique(self, name: str | None, kind: str, taken: Mapping[str, object]) -> str:
        if name is None:
            number = 1
            while f"{kind}-{number}" in taken:
                number += 1
            return f"{kind}-{number}"
        if name in taken:
            raise ConfigError(f"this app has a {kind} named {name!r} already: give another name")
        return name

    def _refuse_when_started(self, what: str) -> None:
        if self._started:
            raise RuntimeError(f"the app has started: {what} must be added before app.run(), serve() or running()")

    # ------------------------------------------------------------------ the contract

    def asyncapi(self) -> str:
        """What is declared, as an AsyncAPI 3.0.0 document in JSON. Nothing is connected for it.

        Raises:
            ConfigError: an annotation refers to a name that does not exist, a type cannot be described, or an error
                policy cannot work.
        """
        return json.dumps(build_document(self._declared()), ensure_ascii=False, indent=2, allow_nan=False)

    def asgi(self) -> Any:
        """Contract page, health and metrics as an ASGI app: `api.mount("/kafka", app.asgi())`. Call it before the
        start, for metrics are counted from then on.

        Raises:
            ConfigError: the extra is not installed; `pip install 'evkafka[web]'`.
        """
        self._measure()
        return mountable(self, self._ui_token)

    def _measure(self) -> None:
        if self._metrics is None:
            self._metrics = metrics_of(self)

    @property
    def metrics(self) -> Metrics | None:
        """What is counted, for `/metrics`; None without a web part, or without the extra `evkafka[metrics]`."""
        return self._metrics

    @property
    def web_url(self) -> str | None:
        """Where the web part can be opened; None while it does not run."""
        return self._web_part.url if self._web_part is not None else None

    def _declared(self) -> Declared:
        return Declared(
            Info(self.title, self.version, self.description, self.terms_of_service, self.contact, self.license_info),
            tuple(one.contract(self._middleware) for one in self._consumers.values()),
            tuple(one.contract() for one in self._producers.values()),
        )

    # ------------------------------------------------------------------ running

    def run(self) -> None:
        """Run until a signal or `stop()`; ends the process with an exit code.

        0 (then it just returns) after a clean stop, 1 after a failure while running, 3 where it could not start,
        128+n where a second signal, the drain time or the deadline of the stop forced it.

        A stop takes the longest `drain_timeout_ms` and 5 seconds at most, whatever holds it: an endpoint, a thread, the
        lifespan, the event loop. Past that the process ends by force, and the log names what held it.
        """
        guard = self.take_process()
        leave(run_to_exit_code(self.serve, guard=guard), guard)

    def take_process(self) -> StopGuard:
        """This process is the app's alone. For `run` and the command line, which run its `serve` afterwards."""
        self._guard = StopGuard(self.stop_limit_s, under_way=self._under_way, ends_process=True)
        self._guard.start()
        return self._guard

    async def serve(self, *, install_signal_handlers: bool = True, force_exit: bool = False) -> None:
        """Run in this loop until a signal or `stop()`; returns on a clean stop.

        Args:
            install_signal_handlers: take SIGINT and SIGTERM (default; only possible in the main thread).
            force_exit: end this process by force when a stop has not ended by its deadline (the longest
                `drain_timeout_ms` and 5 seconds). Default False: it is only logged what holds up the stop, since the
                process may not be the app's alone.

        Raises:
            StartFailed: it could not start.
            StopApp, BrokerError: a consumer could not be saved.
            ForcedExit: the drain time ran out, and attempts were cut; or the lifespan had not ended by the deadline.
        """
        with (
            self._guarded(force_exit) as guard,
            signals(self.handle_exit, guard) if install_signal_handlers else nullcontext(),
        ):
            await self._serve(guard)

    async def _serve(self, guard: StopGuard) -> None:
        try:
            async with self._serving(None, None) as service:
                await service.until_stop()
            if service.overdue:
                raise ForcedExit(self._signum or signal.SIGTERM, f"{'; '.join(service.overdue)}, was cancelled")
            if service.cut:
                raise ForcedExit(
                    self._signum or signal.SIGTERM, "what ran past the drain time was cut, and will be read again"
                )
        except BaseException:
            guard.hasten(ABANDONED_S)
            raise

    @contextmanager
    def _guarded(self, force_exit: bool) -> Iterator[StopGuard]:
        """The process's guard; where the process is not the app's, one for as long as the app runs."""
        if self._guard is not None:
            yield self._guard
            return
        guard = self._guard = StopGuard(self.stop_limit_s, under_way=self._under_way, ends_process=force_exit)
        guard.start()
        try:
            yield guard
        finally:
            guard.end()
            self._guard = None

    def stop_limit_s(self) -> float:
        """How long a stop may take: the longest `drain_timeout_ms` and 5 seconds, in seconds."""
        return stop_limit_s([one.settings.drain_timeout_s for one in self._consumers.values()])

    def _under_way(self) -> list[str]:
        service = self._service
        consumers = service.consumers.values() if service is not None else ()
        return [str(attempt) for consumer in tuple(consumers) for attempt in attempts_of(consumer)]

    @asynccontextmanager
    async def running(
        self,
        *,
        on_failure: Callable[[BaseException], object] | None = None,
        force_exit: bool = False,
        cluster: Cluster | None = None,
        clock: Clock | None = None,
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Run inside another program: started at the entry, stopped at the exit; takes no signals.

        Yields the lifespan's mapping.

        Args:
            on_failure: called when a consumer cannot be saved; None (default) logs it as critical and sends
                SIGTERM to this process, for a program whose consumer is dead should not look alive.
            force_exit: end this process by force when the stop has not ended by its deadline (the longest
                `drain_timeout_ms` and 5 seconds). Default False: it is only logged what holds up the stop.
            cluster, clock: what it runs on; the test kit's in-memory Kafka puts its own in.

        Raises:
            StartFailed: at the entry.
            StopApp, BrokerError: at the exit, when a consumer could not be saved.
        """
        # On a virtual clock, how long something really takes means nothing.
        guarded = self._guarded(force_exit) if clock is None else nullcontext()
        with guarded:
            async with self._running(on_failure, cluster, clock) as state:
                yield state

    @asynccontextmanager
    async def _running(
        self, on_failure: Callable[[BaseException], object] | None, cluster: Cluster | None, clock: Clock | None
    ) -> AsyncIterator[Mapping[str, Any]]:
        async with self._serving(cluster, clock) as service:
            watch = asyncio.ensure_future(self._watch(service, on_failure))
            try:
                yield service.state
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    def asgi_lifespan(self, app: object, *, force_exit: bool = False) -> AbstractAsyncContextManager[Mapping[str, Any]]:
        """For `FastAPI(lifespan=app.asgi_lifespan)`: runs inside the web app's life, its state is `request.state`.

        Args:
            force_exit: as in `running`; `FastAPI(lifespan=partial(app.asgi_lifespan, force_exit=True))`.
        """
        return self.running(force_exit=force_exit)

    async def _watch(self, service: Service, on_failure: Callable[[BaseException], object] | None) -> None:
        await service.until_stop()
        failure = service.failure
        if failure is None:
            return
        if on_failure is not None:
            on_failure(failure)
            return
        logger.critical("a consumer could not be saved, ending the process: %s", failure)
        os.kill(os.getpid(), signal.SIGTERM)

    @asynccontextmanager
    async def _serving(self, cluster: Cluster | None, clock: Clock | None) -> AsyncIterator[Service]:
        if self._service is not None:
            raise RuntimeError("this app is running already")
        self._started = True
        self._loop = asyncio.get_running_loop()
        if self._guard is not None:
            self._guard.watch_loop()
        try:
            service = self._service = self._build(cluster or _kafka(), clock or SystemClock())
        except ConfigError as error:  # what only shows once every name is defined
            raise StartFailed(f"the app could not start: {error}") from error
        if clock is None:  # on a virtual clock, how long something really takes means nothing
            self._loop_monitor = LoopMonitor(
                at_work=lambda task: attempt_of(task, tuple(service.consumers.values())), telemetry=self.telemetry
            )
            self._loop_monitor.start()
        forget = undo_in_children(self._belong_to_parent)
        try:
            async with self._told_to_others(), service.running():
                for declared in self._consumers.values():
                    declared.log_start(self.title)
                if self._should_exit:
                    service.stop()
                try:
                    yield service
                finally:
                    self._begin_deadline()
        finally:
            if self._loop_monitor is not None:
                self._loop_monitor.stop()
                self._loop_monitor = None
            forget()
            self._service = None
            self._should_exit = False

    def _belong_to_parent(self) -> None:
        """In a forked child: the copy of what runs is not to be reached."""
        self._loop = self._service = self._guard = self._loop_monitor = None

    @asynccontextmanager
    async def _told_to_others(self) -> AsyncIterator[None]:
        """Where the app runs in several processes, each knows how the others are and what they count."""
        directory = directory_of_processes(needed=self.web)
        if directory is None:
            yield
            return
        peers = Peers(directory, lambda: self.health.own(self.status()))
        self.health.others = peers.others
        async with self._metrics.shared() if self._metrics is not None else nullcontext(), peers.running():
            yield

    def _build(self, cluster: Cluster, clock: Clock) -> Service:
        """Compile what was declared: stacks, routes and decoders are made here, once."""
        self._web_part = None
        if (
            self.web or directory_of_processes(needed=self.web) is not None
        ):  # where another process is asked, it tells of this one too
            self._measure()
        if self.web:
            self._web_part = WebPart(self, host=self.web_host, port=self.web_port, ui_token=self._ui_token)
        return Service(
            lifespan=self._lifespan,
            producers=[
                one.bound(cluster=cluster, clock=clock, telemetry=self.telemetry, spans=self._spans)
                for one in self._producers.values()
            ],
            plans=[self._plan(one) for one in self._consumers.values()],
            cluster=cluster,
            clock=clock,
            telemetry=self.telemetry,
            web=self._web_part,
            reset_dead_letter_limit=self.reset_dead_letter_limit,
        )

    def _plan(self, declared: DeclaredConsumer) -> ConsumerPlan:
        return declared.plan(
            self._middleware,
            overrides=lambda: self.dependency_overrides,
            paused=lambda name: self.consumer(name).paused,
            spans=self._spans,
        )

    # ------------------------------------------------------------------ stopping

    def stop(self) -> None:
        """Begin to stop: take no more records, drain, commit, leave. From any thread; idempotent."""
        self._should_exit = True
        self._begin_deadline()
        loop, service = self._loop, self._service
        if loop is not None and service is not None and not loop.is_closed():
            loop.call_soon_threadsafe(service.stop)

    def _begin_deadline(self) -> None:
        """The stop begins now; a loop that is held learns of it later. From any thread."""
        if self._guard is not None:
            self._guard.begin(self._signum)
        if self._service is not None:
            self._service.deadline.begin()

    def handle_exit(self, signum: int, frame: FrameType | None) -> None:
        """What a signal does: the first one stops the app, the second one ends it where it stands."""
        if self._signum:
            second = "a second signal: ending at once; what is in flight will be read again"
            if self._guard is not None and self._guard.ends_process:
                force_exit(128 + signum, lambda: second)
            logger.error(second)
            raise SystemExit(128 + signum)
        self._signum = signum
        said = partial(logger.info, "signal %s: stopping", signal.Signals(signum).name)
        if self._loop is not None and not self._loop.is_closed():
            # Not here: the signal may have come in the middle of another line that is being written.
            self._loop.call_soon_threadsafe(said)
        else:
            said()
        self.stop()

    def status(self) -> AppStatus:
        """What the app and its parts do at this moment. To be called in the app's loop."""
        if self._service is not None:
            lag_s = self._loop_monitor.lag_s if self._loop_monitor is not None else None
            return replace(self._service.status(), loop_lag_s=lag_s)
        return AppStatus(phase="ended" if self._started else "new")

    @property
    def service(self) -> Service | None:
        """What runs while the app runs, for the test kit and pages; None before and after."""
        return self._service

    @property
    def consumers(self) -> Mapping[str, DeclaredConsumer]:
        """What `add_consumer` declared, by name, for pages."""
        return self._consumers

    @property
    def producers(self) -> Mapping[str, DeclaredProducer]:
        """What `add_producer` declared, by name, for pages."""
        return self._producers

    @property
    def middleware(self) -> Sequence[Middleware] | None:
        """The app's stack, for pages; None for the usual one."""
        return self._middleware

    @property
    def started(self) -> bool:
        """True once the app has been started."""
        return self._started

    @property
    def should_exit(self) -> bool:
        """True once the app was told to stop; setting it to True tells it."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self.stop()
        else:
            self._should_exit = False


EVkafkaApp = EVKafkaApp
"""The spelling of evkafka 0.7's documentation; the same class."""


def _kafka() -> Cluster:
    from evkafka.runtime.kafka import KafkaCluster

    return KafkaCluster()
