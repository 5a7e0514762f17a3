"""One start of an app: lifespan, producers, consumers, in this order; reversed at the stop."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from evkafka.config import missing_group_id_fault
from evkafka.config.settings import ConsumerSettings, ProducerSettings
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, ConfigError, StartFailed
from evkafka.runtime.clock import wait_any
from evkafka.runtime.consumer import Consumer, ConsumerEnvironment, ConsumerSpec
from evkafka.runtime.consumer_factory import build_consumer
from evkafka.runtime.dead_letter_limit import LimitReset
from evkafka.runtime.dead_letters.writer import DeadLetterWriter
from evkafka.runtime.delayed_records import OriginalRecordDeadLetterSink
from evkafka.runtime.ports import Clock, Cluster
from evkafka.runtime.status import AppStatus, ConsumerStatus, Phase, ProducerStatus
from evkafka.runtime.supervision.stop_deadline import CLOSE_S, StopDeadline, stop_limit_s
from evkafka.runtime.supervision.tasks import TaskEnded
from evkafka.runtime.transaction_scope import TransactionScope
from evkafka.service.consumer_plan import ConsumerPlan
from evkafka.service.lifespan import BoundedLifespan, Lifespan, as_state
from evkafka.service.transaction_checks import shared_transactional_id_faults, weaker_producer_faults
from evkafka.telemetry import Telemetry

logger = logging.getLogger("evkafka")

FLUSH_S = 2.0
"""How long producers and dead-letter writers may flush when the app stops."""

LIFESPAN_RESERVE_S = 0.75
"""The part of the stop's time that is reserved for the lifespan's exit, which is last."""

EXIT_RESERVE_S = 0.25
"""The part of the stop's time that is reserved for the end of the process."""


class RunningProducer(Protocol):
    """The part of a declared producer that the service uses."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> ProducerSettings: ...
    def check_declared_events(self) -> None: ...  # raises ConfigError
    async def start(self) -> None: ...
    async def stop(self, *, timeout_s: float) -> None: ...
    def unavailable_reason(self) -> str: ...  # why nothing can be sent at the moment; empty while it can
    async def close_formats(self) -> None: ...  # after the stop: closes connections to schema registries


class RunningWeb(Protocol):
    """The part of the web server that the service uses."""

    def import_modules_and_create_pages(self) -> None: ...  # raises ConfigError
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Service:
    """One run of an app: starts its lifespan, producers and consumers, and stops them.

    Attributes:
        state: the mapping that the lifespan yielded.
        deadline: when the stop must be over.
        overdue: what was cancelled at the deadline, for the error.
        consumers: by name, once they are created.
    """

    def __init__(
        self,
        *,
        lifespan: Lifespan,
        producers: Sequence[RunningProducer],
        plans: Sequence[ConsumerPlan],
        cluster: Cluster,
        clock: Clock,
        telemetry: Telemetry,
        limit_reset: LimitReset,
        web: RunningWeb | None = None,
    ) -> None:
        self._limit_reset = limit_reset
        self._web = web
        self._phase: Phase = "starting"
        self._lifespan = lifespan
        self._producers = producers
        self._plans = plans
        self._cluster = cluster
        self._clock = clock
        self._telemetry = telemetry
        self._running: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._woken = asyncio.Event()
        self._abandoned = False
        self.deadline = StopDeadline(clock, stop_limit_s([plan.settings.drain_timeout_s for plan in plans]))
        self.overdue: list[str] = []
        self.state: Mapping[str, Any] = {}
        self.consumers: dict[str, Consumer] = {}
        self._dead_letters: dict[str, DeadLetterWriter] = {}

    # ------------------------------------------------------------------ life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, Any]]:
        """Start everything at the entry; drain, commit and close it at the exit.

        Raises:
            StartFailed: at the entry; what had started has been stopped again.
            StopApp, BrokerError: at the exit, if a consumer has failed for good.
        """
        async with AsyncExitStack() as stack:
            try:
                self._check_config_before_start()
                stack.push_async_callback(self._close_registries)
                self.state = as_state(await stack.enter_async_context(self._create_bounded_lifespan()))
                stack.push_async_callback(self._stop_producers)
                if await self._start_concurrently_unless_stopped(*(producer.start() for producer in self._producers)):
                    await self._start_consumers(stack)
                if self._web is not None and not self._stop.is_set():
                    stack.push_async_callback(self._web.stop)
                    await self._web.start()
                self._phase = "running"
            except Exception as error:  # of user code too: any of them means that the app has not started
                self.deadline.begin()
                raise StartFailed(f"the app could not start: {_describe_error(error)}") from error
            try:
                yield self.state
            finally:
                self._phase = "stopping"
                self.deadline.begin()

    async def wait_until_stop_is_needed(self) -> None:
        """Wait until `stop()` is called, a consumer has ended by itself, or one has failed for good and drains. The
        others then drain at the same time, within one deadline."""
        while not self._has_reason_to_stop():
            woken = asyncio.ensure_future(self._woken.wait())  # other code that cancels every task may cancel it
            try:
                await asyncio.wait({woken, *self._running}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                woken.cancel()

    async def wait_until_consumer_ended(self) -> None:
        """Wait until a consumer has ended, which is after its drain."""
        if not any(task.done() for task in self._running):
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    def _has_reason_to_stop(self) -> bool:
        return self._stop.is_set() or self.failure is not None or any(task.done() for task in self._running)

    def begin_stop(self) -> None:
        """Begin to stop. On the service's loop; idempotent."""
        self.deadline.begin()
        self._stop.set()
        self._woken.set()

    @property
    def failure(self) -> BaseException | None:
        """The error that has ended a consumer, or will end it after its drain."""
        for task in self._running:
            if not task.done():
                continue
            if not task.cancelled() and (error := task.exception()) is not None:
                return error
            if task.cancelled() and not self._abandoned:
                return TaskEnded(f"task {task.get_name()} was cancelled by code outside EVKafka")
        return next(
            (found for _, consumer in self.running_consumers() if (found := consumer.fatal_error) is not None), None
        )

    def status(self) -> AppStatus:
        """The state of its consumers and producers, for health, metrics and pages."""
        alive = {name for name, _ in self.running_consumers()}
        return AppStatus(
            phase="stopping" if self._stop.is_set() else self._phase,
            failure=self.failure,
            consumers=tuple(self._consumer_status(consumer) for consumer in self.consumers.values()),
            ended=frozenset(self.consumers) - alive if self._running else frozenset(),
            producers=tuple(
                ProducerStatus(producer.name, producer.unavailable_reason()) for producer in self._producers
            ),
        )

    def _consumer_status(self, consumer: Consumer) -> ConsumerStatus:
        status, plan = consumer.status(), self.plan_of_consumer(consumer.name)
        if plan is None or plan.formats is None:
            return status
        return dataclasses.replace(status, awaited=tuple(plan.formats.unavailable_reasons()))

    def plan_of_consumer(self, name: str) -> ConsumerPlan | None:
        """A consumer's plan, by its name; None if there is none."""
        return next((plan for plan in self._plans if plan.name == name), None)

    def running_consumers(self) -> list[tuple[str, Consumer]]:
        """The consumers that have not ended, by name."""
        return [
            (name, consumer)
            for (name, consumer), task in zip(self.consumers.items(), self._running, strict=False)
            if not task.done()
        ]

    @property
    def draining(self) -> bool:
        """True from the stop, or a consumer's failure, until all have ended."""
        return (self._stop.is_set() or self.failure is not None) and any(not task.done() for task in self._running)

    @property
    def cancelled_attempt_count(self) -> int:
        """How many attempts were cancelled because the stop's drain time was over."""
        return sum(consumer.attempts_cancelled_at_stop for consumer in self.consumers.values())

    def abandon(self) -> None:
        """Drop everything without drain, commit or leaving the group, like a killed process. For tests of crashes."""
        self._abandoned = True
        for consumer in self.consumers.values():
            consumer.kill()
        for task in self._running:
            task.cancel()

    # ------------------------------------------------------------------ start and stop

    def _check_config_before_start(self) -> None:
        """Checks that only a real start needs: a test client needs neither group nor broker."""
        faults = [
            f"consumer {plan.name!r}: {fault}"
            for plan in self._plans
            if (fault := missing_group_id_fault(plan.settings))
        ]
        names = {plan.name for plan in self._plans}
        faults += [
            f"consumer {plan.retries.name!r}: {plan.name!r} has retry topics, and the consumer that reads them has the"
            " same name; rename one of the two"
            for plan in self._plans
            if plan.retries is not None and plan.retries.name in names
        ]
        consumers = [named for plan in self._plans for named in plan.consumer_names_and_settings]
        faults += shared_transactional_id_faults(consumers)
        faults += weaker_producer_faults(consumers, [(one.name, one.settings) for one in self._producers])
        for producer in self._producers:
            try:
                producer.check_declared_events()
            except ConfigError as error:
                faults.append(f"producer {producer.name!r}: {error}")
        if self._web is not None:
            try:
                self._web.import_modules_and_create_pages()
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("; ".join(faults))

    async def _start_concurrently_unless_stopped(self, *starts: Coroutine[Any, Any, None]) -> bool:
        """Start things concurrently. False if the app was stopped before all had started.

        Starts that are not over by then, or when one of them fails, are cancelled.
        """
        starting = [asyncio.ensure_future(start) for start in starts]
        all_started = asyncio.gather(*starting)
        all_started.add_done_callback(lambda done: done.cancelled() or done.exception())  # the loop need not report it
        try:
            while not all_started.done() and not self._stop.is_set():
                stop = asyncio.ensure_future(self._stop.wait())  # other code that cancels every task may cancel it
                try:
                    await wait_any(self._clock, all_started, stop, timeout_s=None)
                finally:
                    stop.cancel()
            if any(task.cancelled() for task in starting):
                raise TaskEnded("a task of the start was cancelled by code outside EVKafka")
            if all_started.done():
                all_started.result()
                return True
            return False
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def _stop_producers(self) -> None:
        """Flush them concurrently, in the time that the drain has left and two seconds; in less if the consumers took
        longer than their drain time."""
        self.deadline.begin()
        timeout_s = max(
            self.deadline.limit_timeout_s(math.inf, reserve_s=CLOSE_S - FLUSH_S),
            self.deadline.limit_timeout_s(FLUSH_S, reserve_s=LIFESPAN_RESERVE_S),
        )
        await asyncio.gather(*(producer.stop(timeout_s=timeout_s) for producer in self._producers))

    async def _close_registries(self) -> None:
        for plan in self._plans:
            if plan.formats is not None:
                await plan.formats.close()
        for producer in self._producers:
            await producer.close_formats()

    def _create_bounded_lifespan(self) -> BoundedLifespan:
        def left_s() -> float:
            self.deadline.begin()
            return self.deadline.limit_timeout_s(math.inf, reserve_s=EXIT_RESERVE_S)

        return BoundedLifespan(self._lifespan(), left_s=left_s, on_overdue=self._log_and_store_overdue_lifespan_exit)

    def _log_and_store_overdue_lifespan_exit(self, place: str) -> None:
        self.overdue.append(f"the exit of the lifespan, {place}")
        logger.error(
            "the exit of the lifespan had not finished at the stop deadline (%g s) and was cancelled; it was %s",
            self.deadline.limit_s,
            place,
        )

    async def _start_consumers(self, stack: AsyncExitStack) -> None:
        for plan in self._plans:
            self._create_consumers_of_plan(plan, stack)
        if not await self._connect_consumers():
            return
        for consumer in self.consumers.values():
            run = asyncio.get_running_loop().create_task(consumer.run(), name=f"evkafka-{consumer.name}")
            self._running.append(run)
        stack.push_async_callback(self._stop_consumers)
        # Let each task begin: one that is cancelled before its first step never runs, and cannot survive that.
        await asyncio.sleep(0)

    async def _connect_consumers(self) -> bool:
        """Connect the consumers concurrently. False if the app was stopped before all had connected."""
        connected = False
        try:
            connected = await self._start_concurrently_unless_stopped(
                *(self._connect_consumer(plan) for plan in self._plans)
            )
        finally:
            if not connected:
                await asyncio.gather(*(consumer.close_source_if_connected() for consumer in self.consumers.values()))
        return connected

    async def _connect_consumer(self, plan: ConsumerPlan) -> None:
        consumer, dead_letters = self.consumers[plan.name], self._dead_letters[plan.name]
        try:
            await consumer.connect_and_subscribe()
            await dead_letters.prepare_dead_letter_topics(plan.dead_letter_policies)
            if plan.retries is not None:
                await dead_letters.prepare_retry_topics(plan.retries.retry_topics)
                await self.consumers[plan.retries.name].connect_and_subscribe()
        except BrokerUnavailable as error:
            if consumer.settings.required:
                raise
            logger.warning(
                "consumer %s cannot reach its cluster; the app starts without it (`required` is False): %s",
                consumer.name,
                error,
            )

    def _create_consumers_of_plan(self, plan: ConsumerPlan, stack: AsyncExitStack) -> None:
        """Create a plan's consumer, and that of its retry topics, which shares its dead-letter writer."""
        _warn_of_policies_without_effect(plan)
        scope = None
        if plan.settings.transaction_settings is not None:
            scope = TransactionScope(plan.name, plan.settings, cluster=self._cluster, clock=self._clock)
        dead_letters = self._dead_letters[plan.name] = DeadLetterWriter(
            plan.settings,
            policy_for=plan.policy_of_route,
            cluster=self._cluster,
            clock=self._clock,
            transaction_scope=scope,
        )

        async def stop_writer() -> None:
            await dead_letters.stop(timeout_s=self.deadline.limit_timeout_s(FLUSH_S, reserve_s=LIFESPAN_RESERVE_S))

        stack.push_async_callback(stop_writer)
        spec = ConsumerSpec(
            plan.name,
            _consumer_settings_with_transactional_id(plan.settings),
            plan.dispatch,
            policy_for=plan.policy_of_route,
            shortest_limit_s=plan.shortest_limit_s,
            dead_letters=dead_letters,
            state=self.state,
            known_types=[route.event_type for route in plan.routes],
            paused=plan.paused(),
            dead_letter_window=plan.longest_dead_letter_window_records,
            limit_reset=self._limit_reset,
            transaction_scope=scope,
        )
        environment = ConsumerEnvironment(self._cluster, self._clock, self._telemetry)
        self.consumers[plan.name] = build_consumer(spec, environment, self._woken.set)
        if (retries := plan.retries) is not None:
            # Its records have all failed before, so the share of dead letters among them is no signal: no limit.
            retry_spec = dataclasses.replace(
                spec,
                name=retries.name,
                settings=_consumer_settings_with_transactional_id(retries.settings),
                dispatch=retries.dispatch,
                dead_letters=OriginalRecordDeadLetterSink(dead_letters, retries.retry_topics),
                paused=retries.paused(),
                dead_letter_window=0,
                retry_topics=retries.retry_topics,
            )
            self.consumers[retries.name] = build_consumer(retry_spec, environment, self._woken.set)

    async def _stop_consumers(self) -> None:
        """Stop them concurrently, each with its own drain time; raise the first failure."""
        if not self._running:  # an app that only sends
            return
        for consumer in self.consumers.values():
            consumer.stop(self.deadline)
        try:
            await asyncio.wait(self._running)
        except asyncio.CancelledError:  # the caller of the stop does not wait any longer: no drain, no commit
            self.abandon()
            await asyncio.wait(self._running)
            raise
        for task in self._running:
            if not task.cancelled():
                task.exception()  # retrieved for all, not only the first: each was logged when its consumer ended
        if (failure := self.failure) is not None:
            raise failure


def _consumer_settings_with_transactional_id(settings: ConsumerSettings) -> ConsumerSettings:
    """The settings, with the transactional id of this run. A source that replaces another one has the same id, so that
    it ends the transaction of that one."""
    if settings.transaction_settings is None or settings.transactional_id is not None:
        return settings
    return dataclasses.replace(settings, transactional_id=settings.default_transactional_id(secrets.token_hex(4)))


def _warn_of_policies_without_effect(plan: ConsumerPlan) -> None:
    for route in plan.routes:
        if route.on_error is not None and plan.settings.at_most_once:
            logger.warning(
                "the on_error of event type %r has no effect in consumer %s, which commits records before it handles"
                " them (pre-commit)",
                route.event_type,
                plan.name,
            )


def _describe_error(error: Exception) -> str:
    match error:
        case BrokerRefused() | BrokerUnavailable() | BrokerError() | ConfigError():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}"
