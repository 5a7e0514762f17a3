"""Starts, runs and stops an app, as its own process or inside another program."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, Protocol

from evkafka.exceptions import ConfigError, ForcedExit, StartFailed
from evkafka.observe.health import HealthChecks
from evkafka.observe.loop_monitor import LoopMonitor, attempt_of_task, running_attempts
from evkafka.observe.metrics import Metrics, create_multiprocess_directory_from_env
from evkafka.observe.process_health import ProcessHealth
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.ports import Clock, Cluster
from evkafka.runtime.status import AppStatus
from evkafka.service.plan import DeclaredConsumer
from evkafka.service.process import FAILED, signal_handlers
from evkafka.service.service import Service
from evkafka.service.stop_guard import StopGuard, force_exit
from evkafka.telemetry import Telemetry
from evkafka_command.forks import undo_in_children

logger = logging.getLogger("evkafka")

REMAINING_S = 1.0
"""How long the remaining threads and tasks are waited for after a failure or a forced stop."""


class LifecycleApp(Protocol):
    """The part of an app that its life cycle uses. `stop` and `handle_exit` are called on the app itself, because a
    subclass may override them."""

    title: str
    web: bool
    telemetry: Telemetry
    health: HealthChecks

    @property
    def consumers(self) -> Mapping[str, DeclaredConsumer]: ...
    @property
    def metrics(self) -> Metrics | None: ...
    def status(self) -> AppStatus: ...
    def stop_limit_s(self) -> float: ...
    def stop(self) -> None: ...
    def handle_exit(self, signum: int, frame: FrameType | None) -> None: ...


class AppLifecycle:
    """Starts, watches and stops the service of one app, in all of its runs.

    Args:
        build: compiles the app's declarations into a service, once per run; raises ConfigError.

    Attributes:
        service: the running service; None while none runs.
        loop: the loop of this run, or of the last one.
        started: True once the app has been started.
        should_exit: True once a stop was requested.
    """

    def __init__(self, app: LifecycleApp, build: Callable[[Cluster, Clock], Service]) -> None:
        self._app = app
        self._build = build
        self.service: Service | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.started = False
        self.should_exit = False
        self._signum = 0
        self._guard: StopGuard | None = None
        self._loop_monitor: LoopMonitor | None = None

    # ------------------------------------------------------------------ as its own process

    def start_process_stop_guard(self) -> StopGuard:
        """The process belongs to this app: the guard handles its signals until its end, and may end it by force."""
        guard = self._guard = StopGuard(
            self._app.stop_limit_s, running_attempts=self._describe_running_attempts, ends_process=True
        )
        guard.start()
        if threading.current_thread() is threading.main_thread():
            guard.install_signal_handlers(self._app.handle_exit)
        return guard

    async def serve(self, *, install_signal_handlers: bool, force_exit: bool) -> None:
        """See `EVKafkaApp.serve`."""
        with (
            self._stop_guard(force_exit) as guard,
            signal_handlers(self._app.handle_exit, guard) if install_signal_handlers else nullcontext(),
        ):
            await self._run_until_stop(guard)

    async def _run_until_stop(self, guard: StopGuard) -> None:
        try:
            async with self._running_service(None, None) as service:
                await service.wait_until_stop_is_needed()
                if service.failure is not None:
                    guard.set_exit_code(FAILED)  # also if the stop that follows is blocked and ended by force
            if service.overdue:
                raise ForcedExit(self._signum or signal.SIGTERM, f"{'; '.join(service.overdue)}, was cancelled")
            if service.cancelled_attempt_count:
                raise ForcedExit(
                    self._signum or signal.SIGTERM,
                    "attempts that exceeded the drain time were cancelled; their records will be read again (with"
                    " pre-commit they are lost)",
                )
        except BaseException:
            guard.shorten_deadline(REMAINING_S)
            raise

    @contextmanager
    def _stop_guard(self, force_exit: bool) -> Iterator[StopGuard]:
        """The process's guard; if the process belongs to another program, a guard for this run of the app."""
        if self._guard is not None:
            yield self._guard
            return
        guard = self._guard = StopGuard(
            self._app.stop_limit_s, running_attempts=self._describe_running_attempts, ends_process=force_exit
        )
        guard.start()
        try:
            yield guard
        finally:
            guard.stop_watcher_thread()
            self._guard = None

    def _describe_running_attempts(self) -> list[str]:
        service = self.service
        consumers = service.consumers.values() if service is not None else ()
        return [str(attempt) for consumer in tuple(consumers) for attempt in running_attempts(consumer)]

    # ------------------------------------------------------------------ inside another program

    @asynccontextmanager
    async def running(
        self,
        *,
        on_failure: Callable[[BaseException], object] | None,
        force_exit: bool,
        cluster: Cluster | None,
        clock: Clock | None,
    ) -> AsyncIterator[Mapping[str, Any]]:
        """See `EVKafkaApp.running`."""
        # With a virtual clock, real time has no meaning.
        guarded = self._stop_guard(force_exit) if clock is None else nullcontext()
        with guarded:
            async with self._running_and_reporting_failure(on_failure, cluster, clock) as state:
                yield state

    @asynccontextmanager
    async def _running_and_reporting_failure(
        self, on_failure: Callable[[BaseException], object] | None, cluster: Cluster | None, clock: Clock | None
    ) -> AsyncIterator[Mapping[str, Any]]:
        async with self._running_service(cluster, clock) as service:
            watch = asyncio.ensure_future(self._report_failure_or_end_process(service, on_failure))
            try:
                yield service.state
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    async def _report_failure_or_end_process(
        self, service: Service, on_failure: Callable[[BaseException], object] | None
    ) -> None:
        await service.wait_until_stop_is_needed()
        if service.failure is None:
            return
        await service.wait_until_consumer_ended()  # before the signal: some host programs end at once, without a drain
        failure = service.failure
        assert failure is not None
        if on_failure is not None:
            on_failure(failure)
            return
        logger.critical("a consumer has failed, ending the process: %s", failure)
        os.kill(os.getpid(), signal.SIGTERM)

    # ------------------------------------------------------------------ both

    @asynccontextmanager
    async def _running_service(self, cluster: Cluster | None, clock: Clock | None) -> AsyncIterator[Service]:
        if self.service is not None:
            raise RuntimeError("this app is already running")
        self.started = True
        self.loop = asyncio.get_running_loop()
        if self._guard is not None:
            self._guard.note_loop()
        try:
            service = self.service = self._build(cluster or _import_and_create_kafka_cluster(), clock or SystemClock())
        except ConfigError as error:  # of an annotation, which is resolved only now
            raise StartFailed(f"the app could not start: {error}") from error
        if clock is None:  # with a virtual clock, real time has no meaning
            self._loop_monitor = LoopMonitor(
                find_attempt=lambda task: attempt_of_task(task, tuple(service.consumers.values())),
                telemetry=self._app.telemetry,
            )
            self._loop_monitor.start()
        remove_fork_hook = undo_in_children(self._forget_in_child)
        try:
            async with self._sharing_health_and_metrics(), service.running():
                if self.should_exit:
                    service.begin_stop()
                else:
                    for declared in self._app.consumers.values():
                        declared.log_start(self._app.title)
                try:
                    yield service
                finally:
                    self._begin_stop_deadlines()
        finally:
            if self._loop_monitor is not None:
                self._loop_monitor.stop()
                self._loop_monitor = None
            remove_fork_hook()
            self.service = None
            self.should_exit = False

    def _forget_in_child(self) -> None:
        """In a forked child: it must not use its copy of the parent's running service."""
        self.loop = self.service = self._guard = self._loop_monitor = None

    @asynccontextmanager
    async def _sharing_health_and_metrics(self) -> AsyncIterator[None]:
        """If the app runs in several processes, they share their health and metrics."""
        app = self._app
        directory = create_multiprocess_directory_from_env(needed=app.web)
        if directory is None:
            yield
            return
        peers = ProcessHealth(directory, lambda: app.health.health_of_this_process(app.status()))
        app.health.check_others = peers.check_others
        async with app.metrics.share_values() if app.metrics is not None else nullcontext(), peers.share_health():
            yield

    def app_status(self) -> AppStatus:
        """The current state of the app and its parts. Call it in the app's loop."""
        if self.service is not None:
            lag_s = self._loop_monitor.largest_recent_lag_s if self._loop_monitor is not None else None
            return replace(self.service.status(), loop_lag_s=lag_s)
        return AppStatus(phase="ended" if self.started else "new")

    # ------------------------------------------------------------------ stopping

    def begin_stop(self) -> None:
        """Begin to stop. From any thread; idempotent."""
        self.should_exit = True
        self._begin_stop_deadlines()
        loop, service = self.loop, self.service
        if loop is not None and service is not None and not loop.is_closed():
            loop.call_soon_threadsafe(service.begin_stop)

    def _begin_stop_deadlines(self) -> None:
        """Start the deadlines of the stop now: a blocked loop would start them too late. From any thread."""
        if self._guard is not None:
            self._guard.start_stop_deadline(self._signum)
        if self.service is not None:
            self.service.deadline.begin()

    def on_signal(self, signum: int) -> None:
        """The first one stops the app, the second one ends it at once."""
        if self._signum:
            second = (
                "second signal: exiting immediately; records in flight will be read again (with pre-commit they are"
                " lost)"
            )
            if self._guard is not None and self._guard.ends_process:
                force_exit(128 + signum, lambda: second)
            logger.error(second)
            raise SystemExit(128 + signum)
        self._signum = signum
        log = partial(logger.info, "signal %s: stopping", signal.Signals(signum).name)
        if self.loop is not None and not self.loop.is_closed():
            # In the loop: the signal may have interrupted the writing of another log line.
            self.loop.call_soon_threadsafe(log)
        else:
            log()
        self._app.stop()


def _import_and_create_kafka_cluster() -> Cluster:
    from evkafka.kafka import KafkaCluster

    return KafkaCluster()
