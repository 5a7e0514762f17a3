"""The test clients: an app's endpoints, called with what Kafka would have given them."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self

from evkafka.app import EVKafkaApp
from evkafka.exceptions import ConfigError
from evkafka.ports import Record
from evkafka.runtime.ambient import stand_in
from evkafka.runtime.producer import Headers, Key
from evkafka.testing.delivery import Delivery, Fatal, delivery_of
from evkafka.testing.portal import Portal
from evkafka.testing.sent import SentEvent
from evkafka.testing.stage import Stage, StagedConsumer


class _Client:
    """What both clients share.

    Attributes:
        app: the app under test.
        sent: what it has sent since the client was entered, oldest first; a plain list, to be looked into or cleared.
    """

    __test__ = False

    def __init__(
        self, app: EVKafkaApp, raise_endpoint_errors: bool = True, *, raise_handler_errors: bool | None = None
    ) -> None:
        if not isinstance(app, EVKafkaApp):
            raise ConfigError(f"a test client takes the EVKafkaApp, not {type(app).__name__}: write TestClient(app)")
        self.app = app
        self.sent: list[SentEvent] = []
        self._raises = raise_endpoint_errors if raise_handler_errors is None else raise_handler_errors
        self._stage: Stage | None = None
        self._before = Context()

    def _opened(self) -> Stage:
        if self._stage is None:
            name = type(self).__name__
            entry = "async with" if isinstance(self, AsyncTestClient) else "with"
            raise RuntimeError(f"the test client is not open: write `{entry} {name}(app) as client:` and send inside")
        return self._stage

    def _make(self, consumer_name: str | None, *arguments: Any) -> tuple[StagedConsumer, Record]:
        stage = self._opened()
        consumer = stage.consumer(consumer_name)
        return consumer, stage.record(consumer, *arguments)

    def _delivery(self, result: object) -> Delivery:
        """The attempt's result as a value, or raised."""
        if isinstance(result, Fatal):
            raise result.error
        delivery = delivery_of(result)
        if delivery.error is not None and self._raises:
            raise delivery.error
        return delivery


class TestClient(_Client):
    """Calls an app's endpoints as records would, in tests that are plain functions.

        with TestClient(app) as client:
            client.send_event({"order_id": "1"}, "OrderPlaced", "orders")

    Entering it runs the lifespan and starts the producers, in an event loop in a thread of its own; nothing connects to
    Kafka, and neither `group_id` nor `bootstrap_servers` is needed. What is sent goes through the consumer's own stack:
    middleware, decoding, endpoint, time limit, outcome. Each call is one attempt, without waiting: error policies,
    commits and retries are for `InMemoryKafka`.

    Args:
        app: the app under test.
        raise_endpoint_errors: raise what an endpoint raised, an `EndpointTimeout`, a `DecodeError` (default); False
            leaves them in `Delivery.error`. KeyboardInterrupt, SystemExit and MemoryError are always raised.
        raise_handler_errors: another name of the same.

    Raises (when entered, or left):
        what the lifespan raised, as it stands.
        ConfigError: what is declared cannot work.
        RuntimeError: an event loop is running here (use `AsyncTestClient`), or the app is running.
    """

    def __init__(
        self, app: EVKafkaApp, raise_endpoint_errors: bool = True, *, raise_handler_errors: bool | None = None
    ) -> None:
        super().__init__(app, raise_endpoint_errors, raise_handler_errors=raise_handler_errors)
        self._portal: Portal | None = None
        self._place: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        _refuse_in_loop("entered")
        if self._portal is not None:
            raise RuntimeError("this test client is open already")
        self.sent = []
        stage = Stage(self.app, self.sent)
        portal = Portal(stage.open())
        portal.open()
        # Producers that the test itself starts, in a loop of its own, are recorded too.
        self._place = stand_in(stage.place)
        self._place.__enter__()
        self._before = copy_context()
        self._portal, self._stage = portal, stage
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        portal, place = self._portal, self._place
        self._portal = self._place = self._stage = None
        assert portal is not None
        assert place is not None
        place.__exit__(None, None, None)
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
        """Deliver one event, and return what became of it.

        Args:
            event: dict, str, bytes, a pydantic model, or what pydantic can serialize; None is a tombstone.
            event_type: goes into the header that the consumer's stack reads, and wins over a header of that name;
                None for a record without a type.
            topic, key, headers: as the record has them; str values go out as UTF-8.
            partition: default 0. Offsets count up from 0 in each partition.
            timestamp_ms: milliseconds since the epoch; default: now.
            consumer_name: whose record it is; needed where the app has several consumers.

        Raises:
            what the endpoint raised: the very exception (see `raise_endpoint_errors`); outcomes are not raised.
            ConfigError: no such consumer; it names those that there are.
            EncodeError: event, key or a header cannot be made into bytes.
            RuntimeError: the client is not open, or is called where an event loop runs.
        """
        _refuse_in_loop("called")
        made = self._make(consumer_name, event, event_type, topic, key, partition, timestamp_ms, headers)
        return self._delivery(self._attempt(*made))

    def _attempt(self, consumer: StagedConsumer, record: Record) -> object:
        stage = self._opened()
        assert self._portal is not None
        context = stage.context_of(copy_context(), self._before)
        return self._portal.call(partial(stage.attempt, consumer, record), context)


class AsyncTestClient(_Client):
    """`TestClient` for async tests: everything runs in the test's own event loop.

        async with AsyncTestClient(app) as client:
            await client.send_event({"order_id": "1"}, "OrderPlaced", "orders")

    Arguments, attributes and errors are those of `TestClient`.
    """

    def __init__(
        self, app: EVKafkaApp, raise_endpoint_errors: bool = True, *, raise_handler_errors: bool | None = None
    ) -> None:
        super().__init__(app, raise_endpoint_errors, raise_handler_errors=raise_handler_errors)
        self._life: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        if self._life is not None:
            raise RuntimeError("this test client is open already")
        self.sent = []
        stage = Stage(self.app, self.sent)
        life = stage.open()
        await life.__aenter__()
        self._before = stage.context
        self._life, self._stage = life, stage
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        life, self._life, self._stage = self._life, None, None
        assert life is not None
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
        """Deliver one event, and return what became of it; see `TestClient.send_event`."""
        made = self._make(consumer_name, event, event_type, topic, key, partition, timestamp_ms, headers)
        return self._delivery(await self._attempt(*made))

    async def _attempt(self, consumer: StagedConsumer, record: Record) -> object:
        stage = self._opened()
        context = stage.context_of(copy_context(), self._before)
        return await asyncio.get_running_loop().create_task(stage.attempt(consumer, record), context=context)


def _refuse_in_loop(what: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"TestClient was {what} where an event loop runs, which it would block. In an async test, write "
        "`async with AsyncTestClient(app) as client: await client.send_event(...)`, from evkafka.testing"
    )
