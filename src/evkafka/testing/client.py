"""The test clients: they call an app's endpoints as records from Kafka would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self

from evkafka.app import EVKafkaApp
from evkafka.exceptions import ConfigError
from evkafka.producer import Headers, Key
from evkafka.records import Record
from evkafka.runtime.backend import use_backend
from evkafka.service.single_attempt import Delivery
from evkafka.testing.blocking_portal import BlockingPortal, TaskOwnedContext
from evkafka.testing.harness import CompiledConsumer, Deliveries, Harness, Unencoded
from evkafka.testing.recording import SentEvent

BatchKey = Key | Callable[[Any], Key | None] | None


class _Client:
    """Base of both clients.

    Attributes:
        app: the app under test.
        sent: events that it has sent since the client was entered, oldest first; a plain list, which may be cleared. Of
            an attempt of an exactly-once consumer they are added at its end, and only if they would be written.
    """

    __test__ = False

    def __init__(
        self, app: EVKafkaApp, raise_endpoint_errors: bool = True, *, raise_handler_errors: bool | None = None
    ) -> None:
        if not isinstance(app, EVKafkaApp):
            raise ConfigError(f"a test client needs the EVKafkaApp, not {type(app).__name__}: write TestClient(app)")
        self.app = app
        self.sent: list[SentEvent] = []
        self._raises = raise_endpoint_errors if raise_handler_errors is None else raise_handler_errors
        self._harness: Harness | None = None
        self._recording: AbstractContextManager[None] | None = None
        self._before = Context()

    def _require_open_harness(self) -> Harness:
        if self._harness is None:
            name = type(self).__name__
            entry = "async with" if isinstance(self, AsyncTestClient) else "with"
            raise RuntimeError(
                f"the test client is not open: write `{entry} {name}(app) as client:` and send inside the block"
            )
        return self._harness

    def _build_records(
        self,
        events: Iterable[Any],
        event_type: str | None,
        topic: str,
        key: BatchKey,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Headers | None,
        consumer_name: str | None,
    ) -> tuple[CompiledConsumer, list[Record | Unencoded]]:
        harness = self._require_open_harness()
        consumer = harness.consumer_by_name(consumer_name)
        return consumer, [
            harness.build_record(
                consumer,
                event,
                event_type,
                topic,
                key(event) if callable(key) else key,
                partition,
                timestamp_ms,
                headers,
            )
            for event in events
        ]

    @staticmethod
    def _deliveries_or_raise(deliveries: Deliveries) -> list[Delivery]:
        """The deliveries; raises the error that ended them, if there is one."""
        if deliveries.fault is not None:
            raise deliveries.fault
        return deliveries.all


class TestClient(_Client):
    """Calls an app's endpoints as records from Kafka would, in tests that are plain functions.

        with TestClient(app) as client:
            client.send_event({"order_id": "1"}, "OrderPlaced", "orders")

    Entering it runs the lifespan and starts the producers, in an event loop in a thread of its own; nothing connects to
    Kafka, and neither `group_id` nor `bootstrap_servers` is needed. An event goes through the consumer's middleware,
    decoding, endpoint, time limit and outcome. Each call is one attempt, without waiting: error policies,
    commits and retries are for `InMemoryKafka`.

    Args:
        app: the app under test.
        raise_endpoint_errors: raise what an endpoint raised, an `EndpointTimeout`, a `DecodeError` (default); False
            leaves them in `Delivery.error`. KeyboardInterrupt, SystemExit and MemoryError are always raised.
        raise_handler_errors: an alias of `raise_endpoint_errors`.

    Raises (when entered, or left):
        what the lifespan raised, unchanged.
        ConfigError: a declaration of the app is invalid.
        RuntimeError: an event loop is running here (use `AsyncTestClient`), or the app is running.
    """

    _portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        _refuse_in_loop("entered")
        if self._portal is not None:
            raise RuntimeError("this test client is open already")
        self.sent = []
        harness = Harness(self.app, self.sent)
        portal = BlockingPortal(harness.enter_lifespan_and_start_producers())
        portal.open()
        # Producers that the test itself starts, in a loop of its own, are recorded too.
        self._recording = use_backend(harness.backend)
        self._recording.__enter__()
        self._before = copy_context()
        self._portal, self._harness = portal, harness
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        portal, recording = self._portal, self._recording
        self._portal = self._recording = self._harness = None
        assert portal is not None
        assert recording is not None
        recording.__exit__(None, None, None)
        portal.close()

    def send_event(
        self,
        event: Any,
        event_type: str | None,
        topic: str,
        key: Key | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        consumer_name: str | None = None,
    ) -> Delivery:
        """Deliver one event, and return its outcome.

        Args:
            event: dict, str, bytes, a pydantic model, or what pydantic can serialize; None is a tombstone.
            event_type: is put into the header that the consumer's middleware reads, and replaces a given header of that
                name; None for a record without a type.
            topic, key, headers: as the record has them; str values go out as UTF-8.
            partition: default 0. Offsets count up from 0 in each partition.
            timestamp_ms: milliseconds since the epoch; default: now.
            consumer_name: the consumer that gets the record; required if the app has several.

        Raises:
            what the endpoint raised: the very exception (see `raise_endpoint_errors`); outcomes are not raised.
            ConfigError: there is no such consumer; the text lists those that exist.
            EncodeError: event, key or a header cannot be encoded.
            RuntimeError: the client is not open, or an event loop is running here.
        """
        _refuse_in_loop("called")
        [delivery] = self._deliver_events(
            [event], event_type, topic, key, partition, timestamp_ms, headers, consumer_name
        )
        return delivery

    def send_batch(
        self,
        events: Iterable[Any],
        event_type: str | None,
        topic: str,
        key: BatchKey = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        consumer_name: str | None = None,
    ) -> list[Delivery]:
        """Deliver events of one type as consecutive records of one partition.

        A batch endpoint gets them together, at most its `max_records` at once; any other endpoint gets them one by one,
        as with `send_event`. Arguments are those of `send_event`, except that `key` may be a function of the event.

        Returns: the delivery of each event.

        Raises:
            what the endpoint raised; of a `BatchError` that names errors, an equal one with the first error as its
            cause. Later events are not delivered.
        """
        _refuse_in_loop("called")
        return self._deliver_events(events, event_type, topic, key, partition, timestamp_ms, headers, consumer_name)

    def _deliver_events(self, *arguments: Any) -> list[Delivery]:
        harness, records = self._require_open_harness(), self._build_records(*arguments)
        assert self._portal is not None
        context = harness.context_variables_for_endpoint(copy_context(), self._before)
        return self._deliveries_or_raise(
            self._portal.call(
                partial(harness.deliver_records_to_consumer, *records, stop_at_fault=self._raises), context
            )
        )


class AsyncTestClient(_Client):
    """`TestClient` for async tests: everything runs in the test's own event loop.

        async with AsyncTestClient(app) as client:
            await client.send_event({"order_id": "1"}, "OrderPlaced", "orders")

    Arguments, attributes and errors are those of `TestClient`.
    """

    _life: TaskOwnedContext[None] | None = None

    async def __aenter__(self) -> Self:
        if self._life is not None:
            raise RuntimeError("this test client is open already")
        self.sent = []
        harness = Harness(self.app, self.sent)
        life = TaskOwnedContext(harness.enter_lifespan_and_start_producers())
        await life.__aenter__()
        self._recording = use_backend(harness.backend)
        self._recording.__enter__()
        self._before = copy_context()
        self._life, self._harness = life, harness
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        life, recording = self._life, self._recording
        self._life = self._recording = self._harness = None
        assert life is not None
        assert recording is not None
        recording.__exit__(None, None, None)
        await life.__aexit__(None, None, None)

    async def send_event(
        self,
        event: Any,
        event_type: str | None,
        topic: str,
        key: Key | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        consumer_name: str | None = None,
    ) -> Delivery:
        """Deliver one event, and return its outcome; see `TestClient.send_event`."""
        [delivery] = await self._deliver_events(
            [event], event_type, topic, key, partition, timestamp_ms, headers, consumer_name
        )
        return delivery

    async def send_batch(
        self,
        events: Iterable[Any],
        event_type: str | None,
        topic: str,
        key: BatchKey = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
        consumer_name: str | None = None,
    ) -> list[Delivery]:
        """Deliver events of one type together; see `TestClient.send_batch`."""
        return await self._deliver_events(
            events, event_type, topic, key, partition, timestamp_ms, headers, consumer_name
        )

    async def _deliver_events(self, *arguments: Any) -> list[Delivery]:
        harness, records = self._require_open_harness(), self._build_records(*arguments)
        context = harness.context_variables_for_endpoint(copy_context(), self._before)
        delivering = harness.deliver_records_to_consumer(*records, stop_at_fault=self._raises)
        return self._deliveries_or_raise(await asyncio.get_running_loop().create_task(delivering, context=context))


def _refuse_in_loop(what: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"TestClient was {what} where an event loop runs, which it would block. In an async test, write "
        "`async with AsyncTestClient(app) as client: await client.send_event(...)`, from evkafka.testing"
    )
