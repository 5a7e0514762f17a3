"""Runs an app for a test client: enters its lifespan, replaces its producers by recording ones, delivers records."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from evkafka.app import EVKafkaApp
from evkafka.config.arguments import str_subclass_to_str
from evkafka.exceptions import ConfigError, EncodeError, RegistryUnavailable
from evkafka.handler import Handler
from evkafka.producer import EVKafkaProducer, Headers, Key, build_headers, encode_key
from evkafka.records import Record
from evkafka.runtime.backend import Backend, current_backend, use_backend
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.failure_cause import Fatal
from evkafka.runtime.kept_sends import wrap_dispatch_to_keep_sends
from evkafka.runtime.ports import Slot
from evkafka.runtime.transaction_scope import TransactionScope
from evkafka.sender import Sender
from evkafka.serde.cloudevents.writing import add_missing_specversion_id_and_source
from evkafka.serde.encoding import encode
from evkafka.serde.formats.interface import Outgoing, ValueFormat
from evkafka.service.consumer_plan import ConsumerPlan
from evkafka.service.lifespan import as_state
from evkafka.service.plan import DeclaredConsumer
from evkafka.service.single_attempt import (
    Delivery,
    OutcomeName,
    TimedAttempt,
    calls_for,
    delivery_from_result,
    wait_until_schemas_known,
)
from evkafka.testing.cluster_ids import ClusterIds, declared_connections
from evkafka.testing.memory.partition_log import MemoryRecord
from evkafka.testing.recording import OffsetCounter, ProducerClusterWithoutTopics, SentEvent, SentEvents

WRITTEN: Collection[OutcomeName] = ("done", "skip", "unmatched")
"""The outcomes after which an exactly-once consumer writes what the attempt has sent."""

TEST_SOURCE = "/test"
"""The source of the CloudEvents that a test client sends."""


async def _prepare_schemas_of_sender(sender: Sender, topic: str | None) -> None:
    try:
        await sender.find_schemas_and_set_encoders(topic)
    except RegistryUnavailable as error:
        raise RegistryUnavailable(
            f"{error}; in tests, `with use_registry():` (evkafka.testing) replaces the registries of the app"
        ) from error


@dataclass(frozen=True, slots=True)
class Unencoded:
    """The event of a record whose value is encoded when it is delivered: its schema has to be asked for.

    Attributes:
        record: without a value.
    """

    event: Any
    event_type: str | None
    record: MemoryRecord


@dataclass(frozen=True, slots=True)
class CompiledConsumer:
    """A declared consumer, compiled.

    Attributes:
        type_header: the header that its middleware reads the event type from.
        envelope: its records' envelope; None if it has none.
        threads: runs plain `def` endpoints, as many at once as in production.
        handler: has its endpoints; None if an app callable takes its records.
    """

    plan: ConsumerPlan
    type_header: str
    envelope: str | None
    threads: ThreadPoolExecutor
    handler: Handler | None = None

    def format_of_topic(self, topic: str) -> ValueFormat | None:
        """The format of a topic's values; None for JSON."""
        return self.plan.formats.format_of_topic(topic) if self.plan.formats is not None else None


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The outcome of each delivered record, and the error that ended the delivery, if there is one."""

    all: list[Delivery]
    fault: BaseException | None = None


class Harness:
    """Runs an app once.

    Args:
        sent: gets what the app sends.

    Attributes:
        backend: records what producers send that the app's code creates itself.
        context: the context variables at the end of the lifespan's entry: endpoints see them, as in production.
    """

    def __init__(self, app: EVKafkaApp, sent: list[SentEvent]) -> None:
        self._app = app
        self._sent = SentEvents(sent)
        self._offset_counter = OffsetCounter()
        self._consumers: dict[str, CompiledConsumer] = {}
        self._state: Mapping[str, Any] = {}
        self._cluster_ids = ClusterIds(partial(declared_connections, app))
        self.backend = Backend(self._create_producer_cluster(), SystemClock())
        self.context = Context()

    # ------------------------------------------------------------------ life

    @asynccontextmanager
    async def enter_lifespan_and_start_producers(self) -> AsyncIterator[None]:
        """Enter the lifespan, then start the producers, as the app itself does; reversed at the exit.

        Raises what the lifespan raises.
        """
        app = self._app
        if app.service is not None or any(one.sender.is_bound for one in app.producers.values()):
            raise RuntimeError("this app is already running, on its own or in another test client: stop that first")
        app.mark_started()
        async with AsyncExitStack() as stack:
            for declared in app.consumers.values():
                self._consumers[declared.name] = consumer = self._compile_consumer(declared)
                stack.callback(consumer.threads.shutdown, wait=False, cancel_futures=True)
                if consumer.plan.formats is not None:
                    stack.push_async_callback(consumer.plan.formats.close)
            stack.enter_context(use_backend(self.backend))
            self._state = as_state(await stack.enter_async_context(app.lifespan_factory()))
            await self._start_producers(stack)
            self.context = copy_context()
            yield

    def _compile_consumer(self, declared: DeclaredConsumer) -> CompiledConsumer:
        plan = self._app.compile_consumer_plan(declared)
        if plan.settings.transaction_settings is not None:
            backend = self.backend
            scope = TransactionScope(plan.name, plan.settings, cluster=backend.cluster, clock=backend.clock)
            plan = replace(plan, dispatch=wrap_dispatch_to_keep_sends(plan.dispatch, scope))
        threads = ThreadPoolExecutor(plan.settings.concurrency, thread_name_prefix=f"evkafka-{plan.name}")
        return CompiledConsumer(plan, declared.type_header, declared.settings.envelope, threads, declared.handler)

    async def _start_producers(self, stack: AsyncExitStack) -> None:
        joins_transactions = any(one.plan.settings.transaction_settings is not None for one in self._consumers.values())
        for declared in self._app.producers.values():
            producer = EVKafkaProducer(
                declared.config,
                cluster=self._create_producer_cluster(declared.name, declared.sender),
                name=declared.name,
                joins_transactions=joins_transactions,
            )
            for one in declared.sender.formats:
                stack.push_async_callback(one.close)
            await _prepare_schemas_of_sender(declared.sender, producer.settings.topic)
            await producer.start()
            stack.push_async_callback(producer.stop)
            declared.sender.bind(producer)
            stack.callback(declared.sender.unbind)

    def _create_producer_cluster(
        self, producer: str | None = None, sender: Sender | None = None
    ) -> ProducerClusterWithoutTopics:
        return ProducerClusterWithoutTopics(self._sent, self._offset_counter, self._cluster_ids, producer, sender)

    # ------------------------------------------------------------------ delivering

    def consumer_by_name(self, name: str | None) -> CompiledConsumer:
        """The consumer to deliver to.

        Raises:
            ConfigError: there is no consumer of this name, or there are several and no name; the text lists them.
        """
        names = ", ".join(map(repr, self._consumers)) or "none"
        if name is None:
            if len(self._consumers) == 1:
                return next(iter(self._consumers.values()))
            raise ConfigError(
                f"consumer_name: this app has {len(self._consumers)} consumers, choose one: {names}"
                if self._consumers
                else "this app has no consumer: declare one with app.add_consumer"
            )
        if name not in self._consumers:
            raise ConfigError(f"consumer_name: this app has no consumer named {name!r}; its consumers: {names}")
        return self._consumers[name]

    def build_record(
        self,
        consumer: CompiledConsumer,
        event: Any,
        event_type: str | None,
        topic: str,
        key: Key | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
    ) -> Record | Unencoded:
        """The record as read from the topic, with its type in the header that this consumer's middleware reads.

        Raises:
            EncodeError: event, key or a header cannot be encoded.
        """
        later = event is not None and not isinstance(event, bytes) and consumer.format_of_topic(topic) is not None
        try:
            value = None if event is None or later else encode(event)
            own_key, pairs = encode_key(key), build_headers(headers, event_type, consumer.type_header)
            if consumer.envelope is not None:
                pairs = add_missing_specversion_id_and_source(pairs, source=TEST_SOURCE)
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(
                f"event {event_type!r} ({type(event).__name__}) cannot be encoded as a record of {topic!r}: {error}",
                topic=topic,
                event_type=event_type,
            ) from error
        number = partition or 0
        stamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        record = MemoryRecord(
            str_subclass_to_str(topic),
            number,
            self._offset_counter.allocate(topic, number),
            stamp,
            own_key,
            value,
            tuple(pairs),
        )
        return Unencoded(event, event_type, record) if later else record

    async def _encode_record_value(self, consumer: CompiledConsumer, given: Record | Unencoded) -> Record:
        if not isinstance(given, Unencoded):
            return given
        record, event_type = given.record, given.event_type
        value_format, endpoint = consumer.format_of_topic(record.topic), None
        assert value_format is not None
        try:
            event, kind = given.event, type(given.event)
            if consumer.handler is not None:
                endpoint = consumer.handler.find_endpoint(event_type)
            if (
                isinstance(event, dict)
                and endpoint is not None
                and (as_payload := endpoint.resolve_decoder().from_object)
            ):
                event, kind = as_payload(event), endpoint.payload_type
            place = f"event {event_type!r} ({type(event).__name__})"
            encode_it = await value_format.encoder_by_latest_else_own_schema(
                Outgoing(place, record.topic, event_type or "", kind)
            )
            return replace(record, value=encode_it(event))
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(
                f"event {event_type!r} ({type(given.event).__name__}) cannot be encoded as a record of"
                f" {record.topic!r} in {value_format.name}; to deliver such a value, pass its bytes: {error}",
                topic=record.topic,
                event_type=event_type,
            ) from error

    async def deliver_records_to_consumer(
        self, consumer: CompiledConsumer, given: Sequence[Record | Unencoded], *, stop_at_fault: bool
    ) -> Deliveries:
        """One attempt for each record, in order, each in its own context.

        Args:
            stop_at_fault: deliver nothing after the first attempt that failed.
        """
        deliveries: list[Delivery] = []
        records = [await self._encode_record_value(consumer, one) for one in given]
        if consumer.plan.dispatch.awaited is not None:
            await wait_until_schemas_known(consumer.plan.dispatch.awaited, records)
        for call in calls_for(
            consumer.plan.dispatch, records, lambda: Slot(consumer.plan.identity, self._state, consumer.threads)
        ):
            attempt = TimedAttempt(
                call.records[0],
                call.slot,
                limit_s=consumer.plan.settings.max_endpoint_exec_time_s,
                shortest_limit_s=consumer.plan.shortest_limit_s,
            )
            result = await attempt.run(call)
            if isinstance(result, Fatal):
                self._sent.add_or_drop_events_of_attempt(call.slot.kept, written=False)
                return Deliveries(deliveries, result.error)
            ended = [delivery_from_result(one) for one in call.list_record_results(result)]
            self._sent.add_or_drop_events_of_attempt(
                call.slot.kept, written=all(one.outcome in WRITTEN for one in ended)
            )
            deliveries += ended
            if stop_at_fault and (fault := call.error_from_result(result)) is not None:
                return Deliveries(deliveries, fault)
        return Deliveries(deliveries)

    def context_variables_for_endpoint(self, caller: Context, before: Context) -> Context:
        """An endpoint's context: the lifespan's context variables, and those that the test has set since `before`."""
        context = self.context.copy()
        for variable, value in caller.items():
            if variable not in before or before[variable] is not value:
                context.run(variable.set, value)
        context.run(current_backend.set, self.backend)
        return context
