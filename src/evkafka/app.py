"""The app: users declare consumers and producers on it, and start, run and stop it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from evkafka.asyncapi import AppContract, Info, build_document
from evkafka.config import ConsumerConfig, ProducerConfig, consumer_settings
from evkafka.config.arguments import is_nonempty_text, str_subclass_to_str
from evkafka.config.keys import ErrorPolicy
from evkafka.context import App
from evkafka.control import ConsumerControl
from evkafka.exceptions import ConfigError
from evkafka.handler import Handler
from evkafka.middleware import Middleware
from evkafka.observe.health import HealthChecks
from evkafka.observe.logs import start_event_log
from evkafka.observe.metrics import Metrics, create_metrics, create_multiprocess_directory_from_env
from evkafka.observe.tracing import create_tracing_or_raise
from evkafka.producer import EVKafkaProducer
from evkafka.runtime.consumer import Consumer
from evkafka.runtime.dead_letter_limit import LimitReset
from evkafka.runtime.dead_letters.retry_topics import retry_consumer_name
from evkafka.runtime.ports import Clock, Cluster
from evkafka.runtime.status import AppStatus
from evkafka.runtime.supervision.stop_deadline import stop_limit_s
from evkafka.sender import Sender
from evkafka.service.consumer_plan import ConsumerPlan
from evkafka.service.lifecycle import AppLifecycle
from evkafka.service.lifespan import Lifespan, as_lifespan
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer
from evkafka.service.process import exit_with_code, run_to_exit_code
from evkafka.service.service import Service
from evkafka.service.stop_guard import StopGuard
from evkafka.telemetry import Telemetry
from evkafka.web.component import WebComponent, pages_as_asgi_app

F = TypeVar("F", bound=Callable[..., Any])


class EVKafkaApp:
    """Consumers and producers that start, run and stop together.

    Args:
        config: the configuration of a first consumer, whose endpoints are declared by `app.event`.
        name: that consumer's name.
        middleware: the stack around every consumer's handler, outermost first; None (default) is
            `[Middleware(JsonTypedDecoderMiddleware)]`.
        lifespan: an async context manager factory without arguments; the mapping that it yields is `request.state`.
        title, version, description, terms_of_service, contact, license_info: for the AsyncAPI document.
        web: serve the AsyncAPI page, health and metrics; needs the extra `evkafka[web]`. Default False.
        web_host: the address to listen on; default "127.0.0.1", which only this machine can reach.
        web_port: the port to listen on; default 8080, 0 takes a free one.
        expose_asyncapi, asyncapi_host, asyncapi_port: the names of evkafka 0.7 for `web`, `web_host` and `web_port`.
        ui_token: the token that actions on the dashboard require (pause, resume, seek, replay, discard); if other
            machines can reach its address, reading the page requires it too. Default None: `EVKAFKA_UI_TOKEN` of the
            environment, else a token is generated for each run and logged, and the page is not served on an address
            that other machines can reach.
        tracing: create an OpenTelemetry span for each attempt and each send; needs the extra `evkafka[tracing]`.
            Default False.

    Raises:
        ConfigError: the configuration is invalid; the error lists all of its faults.

    Attributes:
        dependency_overrides: dependency -> its replacement, for tests: `{open_session: open_fake}`. Read at each
            attempt.
        reset_dead_letter_limit: set it to True before the start, to continue after a `dead_letter_limit` was reached;
            the same as `evkafka run --reset-dead-letter-limit`.
        started_as: the options that name this app in commands, `--app shop:app`, if `evkafka run` or `dev` started it.
        telemetry: the runtime's events; subscribe listeners before the start.
        health: gives liveness, readiness and startup for an `app.status()`.
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
        self.title = str_subclass_to_str(title)
        self.version = str_subclass_to_str(version)
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
        self.started_as: str | None = None
        self.telemetry = Telemetry()
        self._failure_log = start_event_log(self.telemetry)
        self.health = HealthChecks(self.telemetry)
        self._spans = create_tracing_or_raise() if tracing else None
        self._metrics: Metrics | None = None
        self._web_component: WebComponent | None = None
        self._middleware = middleware
        self._lifespan = as_lifespan(lifespan)
        self._consumers: dict[str, DeclaredConsumer] = {}
        self._controls: dict[str, ConsumerControl] = {}
        self._producers: dict[str, DeclaredProducer] = {}
        self._lifecycle = AppLifecycle(self, self._compile_plans_and_create_service)
        self._handler = self._add_constructor_consumer(config, name) if config is not None else None

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
        """Declare an endpoint of the app's first consumer, that of its `config`; see `Handler.event`.

        Raises:
            RuntimeError: the app was created without a `config`.
        """
        if self._handler is None:
            raise RuntimeError(
                "app.event needs a consumer: create the app with EVKafkaApp(config=...), or declare endpoints on a"
                " Handler and pass it to app.add_consumer(config, handler)"
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
            handler: handles its records; several consumers may have the same handler. An async callable instead of a
                `Handler` gets the `Context` of every record, after the middleware.
            name: unique in the app; the default is `consumer-1`, `consumer-2`, in order.
            middleware: replaces the app's stack for this consumer.

        Raises:
            ConfigError: the configuration is invalid, or the name is in use.
            RuntimeError: the app has started.
        """
        self._check_not_started("a consumer")
        settings = consumer_settings(config)
        if not isinstance(handler, Handler) and not callable(handler):
            raise ConfigError(f"a consumer's handler is a Handler or an async callable, not {type(handler).__name__}")
        name = self._choose_unique_name(name, "consumer", self._consumers)
        stack = middleware if middleware is not None else self._middleware
        self._consumers[name] = DeclaredConsumer(name, settings, handler, stack)
        self._consumers[name].check_policies()

    def _add_constructor_consumer(self, config: ConsumerConfig, name: str) -> Handler:
        """Add the consumer of the constructor's `config`. Returns its handler."""
        handler = Handler()
        self.add_consumer(config, handler, name)
        return handler

    def consumer(self, name: str) -> ConsumerControl:
        """A consumer of this app, to pause, resume and seek partitions, before and while it runs.

        The consumer of its retry topics has the same name with `.retry` appended.

        Raises:
            ConfigError: there is no consumer of this name.
        """
        if name not in self._controls:
            settings = {declared.name: declared.settings for declared in self._consumers.values()}
            if name not in settings:
                settings |= {
                    retry_consumer_name(declared.name): found
                    for declared in self._consumers.values()
                    if (found := declared.settings_of_retry_consumer())
                }
            if name not in settings:
                names = ", ".join(map(repr, settings)) or "none"
                raise ConfigError(f"this app has no consumer named {name!r}; its consumers: {names}")
            self._controls[name] = ConsumerControl(
                name, settings[name], partial(self._loop_and_consumer_if_running, name)
            )
        return self._controls[name]

    def _loop_and_consumer_if_running(self, name: str) -> tuple[asyncio.AbstractEventLoop, Consumer] | None:
        loop, service = self._lifecycle.loop, self.service
        consumer = service.consumers.get(name) if service is not None else None
        return (loop, consumer) if loop is not None and consumer is not None else None

    def add_producer(self, config: ProducerConfig, sender: Sender, name: str | None = None) -> None:
        """Declare a producer. Once the app has started, the sender's endpoints send over it.

        Raises:
            ConfigError: the configuration is invalid, the name is in use, or the sender has a producer already.
            RuntimeError: the app has started.
        """
        self._check_not_started("a producer")
        EVKafkaProducer(config)  # only to check the configuration: the app creates its producer at the start
        for other in self._producers.values():
            if other.sender is sender:
                raise ConfigError(
                    f"this Sender already uses producer {other.name!r}: create a second Sender for the second producer"
                )
        name = self._choose_unique_name(name, "producer", self._producers)
        self._producers[name] = DeclaredProducer(name, config, sender)

    def _choose_unique_name(self, name: str | None, kind: str, taken: Mapping[str, object]) -> str:
        if name is None:
            number = 1
            while f"{kind}-{number}" in taken:
                number += 1
            return f"{kind}-{number}"
        if not is_nonempty_text(name):
            raise ConfigError(f"the name of a {kind} is a non-empty string, not {name!r}")
        if name in taken:
            raise ConfigError(f"this app already has a {kind} named {name!r}: use another name")
        return str_subclass_to_str(name)

    def _check_not_started(self, what: str) -> None:
        if self.started:
            raise RuntimeError(f"the app has started: {what} must be added before app.run(), serve() or running()")

    # ------------------------------------------------------------------ the contract

    def asyncapi(self) -> str:
        """Describe the declared consumers and producers in an AsyncAPI 3.0.0 document, as JSON. Connects to nothing.

        Raises:
            ConfigError: an annotation refers to a name that does not exist, a type cannot be described, or an error
                policy is invalid.
        """
        contract = AppContract(
            Info(self.title, self.version, self.description, self.terms_of_service, self.contact, self.license_info),
            tuple(declared.describe_contract() for declared in self._consumers.values()),
            tuple(declared.describe_contract() for declared in self._producers.values()),
        )
        return json.dumps(build_document(contract), ensure_ascii=False, indent=2, allow_nan=False)

    def asgi(self) -> Any:
        """The AsyncAPI page, health and metrics as an ASGI app: `api.mount("/kafka", app.asgi())`. Call it before the
        start: metrics count from this call on.

        Raises:
            ConfigError: the extra `[web]` is not installed.
        """
        self._create_metrics_if_missing()
        return pages_as_asgi_app(self, self._ui_token)

    def _create_metrics_if_missing(self) -> None:
        if self._metrics is None:
            self._metrics = create_metrics(self.telemetry, self.status)

    @property
    def metrics(self) -> Metrics | None:
        """The metrics of `/metrics`; None without a web server, or without the extra `evkafka[metrics]`."""
        return self._metrics

    @property
    def web_url(self) -> str | None:
        """The URL of the web server; None while it does not run."""
        return self._web_component.url if self._web_component is not None else None

    # ------------------------------------------------------------------ running

    def run(self) -> None:
        """Run until a signal or `stop()`; ends the process with an exit code.

        0 after a clean stop (then it returns), 1 after a failure while running, 3 if it could not start, 128+n if a
        second signal, the drain time or the deadline of the stop forced the exit.

        A stop takes at most the longest `drain_timeout_ms` and 5 seconds, whatever blocks it: an endpoint, a thread,
        the lifespan, the event loop. After that the process is forced to exit, and the log names what blocked it.
        """
        guard = self.start_process_stop_guard()
        exit_with_code(run_to_exit_code(self.serve, guard=guard), guard)

    def start_process_stop_guard(self) -> StopGuard:
        """Let the app handle this process's signals, and end it by force. To be called before `serve` is run."""
        return self._lifecycle.start_process_stop_guard()

    async def serve(self, *, install_signal_handlers: bool = True, force_exit: bool = False) -> None:
        """Run in this loop until a signal or `stop()`; returns after a clean stop.

        Args:
            install_signal_handlers: handle SIGINT and SIGTERM (default; only possible in the main thread).
            force_exit: force this process to exit if a stop has not ended by its deadline (the longest
                `drain_timeout_ms` and 5 seconds). Default False: only log what blocks the stop, because the process
                may do other things too.

        Raises:
            StartFailed: it could not start.
            StopApp: a record has stopped the app.
            BrokerError: a consumer has failed for good.
            ForcedExit: the drain time was over, and attempts were cancelled; or the lifespan had not ended by the
                deadline.
        """
        await self._lifecycle.serve(install_signal_handlers=install_signal_handlers, force_exit=force_exit)

    def stop_limit_s(self) -> float:
        """How long a stop may take, in seconds: the longest `drain_timeout_ms` and 5 seconds."""
        return stop_limit_s([declared.settings.drain_timeout_s for declared in self._consumers.values()])

    @asynccontextmanager
    async def running(
        self,
        *,
        on_failure: Callable[[BaseException], object] | None = None,
        force_exit: bool = False,
        cluster: Cluster | None = None,
        clock: Clock | None = None,
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Run inside another program: started at the entry, stopped at the exit. Handles no signals.

        Yields the lifespan's mapping.

        Args:
            on_failure: called with the error if a consumer has failed for good; None (default) logs it as critical and
                sends SIGTERM to this process, because a program whose consumer is dead should not look alive.
            force_exit: force this process to exit if the stop has not ended by its deadline (the longest
                `drain_timeout_ms` and 5 seconds). Default False: only log what blocks the stop.
            cluster, clock: the Kafka cluster and the clock to run on; for the test kit's in-memory Kafka.

        Raises:
            StartFailed: at the entry.
            StopApp: at the exit, if a record has stopped the app.
            BrokerError: at the exit, if a consumer has failed for good.
        """
        async with self._lifecycle.running(
            on_failure=on_failure, force_exit=force_exit, cluster=cluster, clock=clock
        ) as state:
            yield state

    def asgi_lifespan(self, app: object, *, force_exit: bool = False) -> AbstractAsyncContextManager[Mapping[str, Any]]:
        """For `FastAPI(lifespan=app.asgi_lifespan)`: runs while the web app runs; its state is `request.state`.

        Args:
            force_exit: as in `running`; `FastAPI(lifespan=partial(app.asgi_lifespan, force_exit=True))`.
        """
        return self.running(force_exit=force_exit)

    def _compile_plans_and_create_service(self, cluster: Cluster, clock: Clock) -> Service:
        """Compile the declarations into a service: stacks, routes and decoders are created here, once."""
        self._web_component = None
        # Of several processes one has the web server: it shows the metrics of all of them.
        if self.web or create_multiprocess_directory_from_env(needed=self.web) is not None:
            self._create_metrics_if_missing()
        if self.web:
            self._web_component = WebComponent(self, host=self.web_host, port=self.web_port, ui_token=self._ui_token)
        plans = [self.compile_consumer_plan(declared) for declared in self._consumers.values()]
        return self._create_service(cluster, clock, plans)

    def _create_service(self, cluster: Cluster, clock: Clock, plans: Sequence[ConsumerPlan]) -> Service:
        self._failure_log.use_clock(clock.now)
        joins_transactions = any(plan.settings.transaction_settings is not None for plan in plans)
        return Service(
            lifespan=self._lifespan,
            producers=[
                declared.create_producer(
                    cluster=cluster,
                    clock=clock,
                    telemetry=self.telemetry,
                    spans=self._spans,
                    joins_transactions=joins_transactions,
                )
                for declared in self._producers.values()
            ],
            plans=plans,
            cluster=cluster,
            clock=clock,
            telemetry=self.telemetry,
            web=self._web_component,
            limit_reset=LimitReset(self.reset_dead_letter_limit, self._target_of_run_command()),
        )

    def _target_of_run_command(self) -> str:
        """The arguments of `evkafka run` that name this app."""
        return "MODULE:APP" if self.started_as is None else self.started_as.removeprefix("--app ")

    # ------------------------------------------------------------------ stopping

    def stop(self) -> None:
        """Begin to stop: read no more records, drain, commit, leave the group. From any thread; idempotent."""
        self._lifecycle.begin_stop()

    def handle_exit(self, signum: int, frame: FrameType | None) -> None:
        """Handle a signal: the first one stops the app, the second one ends it at once."""
        self._lifecycle.on_signal(signum)

    def status(self) -> AppStatus:
        """The current state of the app and its parts. Call it in the app's loop."""
        return self._lifecycle.app_status()

    @property
    def started(self) -> bool:
        """True once the app has been started."""
        return self._lifecycle.started

    @property
    def should_exit(self) -> bool:
        """True once a stop was requested; setting it to True requests one."""
        return self._lifecycle.should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self.stop()
        else:
            self._lifecycle.should_exit = False

    # ------------------------------------------------------------------ for EVKafka's own command line, pages, test kit

    @property
    def service(self) -> Service | None:
        """The running service; None while the app does not run."""
        return self._lifecycle.service

    @property
    def consumers(self) -> Mapping[str, DeclaredConsumer]:
        """The declared consumers, by name."""
        return self._consumers

    @property
    def producers(self) -> Mapping[str, DeclaredProducer]:
        """The declared producers, by name."""
        return self._producers

    @property
    def lifespan_factory(self) -> Lifespan:
        """The lifespan's factory; without one, a factory of an empty state."""
        return self._lifespan

    @property
    def has_ui_token(self) -> bool:
        """True if the app was created with a `ui_token`."""
        return bool(self._ui_token)

    def replace_consumers_and_producers(
        self,
        consumers: Iterable[DeclaredConsumer] | None = None,
        producers: Iterable[DeclaredProducer] | None = None,
    ) -> None:
        """Replace the declared consumers, or producers; None leaves them as they are.

        Raises:
            RuntimeError: the app has started.
        """
        self._check_not_started("a changed declaration")
        if consumers is not None:
            self._consumers = {declared.name: declared for declared in consumers}
        if producers is not None:
            self._producers = {declared.name: declared for declared in producers}

    def compile_consumer_plan(self, declared: DeclaredConsumer) -> ConsumerPlan:
        """Compile a consumer's stack, routes and decoders.

        Raises:
            ConfigError: an annotation cannot be resolved, or a middleware cannot be instantiated.
        """
        return declared.compile_plan(
            overrides=lambda: self.dependency_overrides,
            paused=lambda name: self.consumer(name).paused,
            spans=self._spans,
        )

    def mark_started(self) -> None:
        """From now on nothing can be declared, as after a start."""
        self._lifecycle.started = True

    def service_without_consumers(self, cluster: Cluster, clock: Clock) -> Service:
        """A service of the lifespan and the producers alone, to run single attempts in."""
        self.mark_started()
        return self._create_service(cluster, clock, ())


EVkafkaApp = EVKafkaApp
"""The spelling of evkafka 0.7's documentation; the same class."""
