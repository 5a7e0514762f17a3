"""Records whose schema is not known yet: their lanes wait for the registry, and others go on."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import fastavro
import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.formats import Avro, SchemaRegistry
from evkafka.middleware import Middleware
from evkafka.testing import InMemoryKafka, InMemoryRegistry
from tests.support.endpoint_calls import STACKS
from tests.support.engine import GROUP, TOPIC, Bench, bench

__all__ = ["bench"]


def schema(name: str) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "shop", "fields": [{"name": "id", "type": "string"}]}


def value(number: int, id_: str) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema("Any")), {"id": id_})
    return b"\0" + number.to_bytes(4) + stream.getvalue()


class Orders:
    """A registry with one schema, a handler for its records, and what that has handled."""

    def __init__(self, server: InMemoryRegistry, registry: SchemaRegistry) -> None:
        self.server = server
        self.avro = Avro(registry)
        self.known = server.register("t-value", schema("Order")).id
        self.handled: list[str] = []
        self.attempts: list[int] = []
        self.handler = Handler()

        @self.handler.event("Order")
        async def on_order(order: dict[str, Any], request: Request) -> None:
            self.handled.append(order["id"])
            self.attempts.append(request.attempt)


@pytest.fixture
def server() -> Iterator[InMemoryRegistry]:
    with InMemoryRegistry() as server:
        yield server


@pytest.fixture
async def orders(server: InMemoryRegistry) -> AsyncIterator[Orders]:
    registry = SchemaRegistry(server.url)
    yield Orders(server, registry)
    await registry.close()


async def send(bench: Bench, *values: bytes, key: str | None = None, partition: int = 0) -> None:
    """Without a type header: the schema's name is the event type."""
    for one in values:
        await bench.kafka.send(TOPIC, one, None, key=key, partition=partition)


@pytest.mark.parametrize("middleware", STACKS.values(), ids=list(STACKS))
async def test_records_are_handled_by_the_name_of_their_schema(
    bench: Bench, orders: Orders, middleware: list[Middleware] | None
) -> None:
    bench.app.add_consumer(
        {"topics": [TOPIC], "group_id": "g", "auto_offset_reset": "earliest", "value_format": orders.avro},
        orders.handler,
        middleware=middleware,
    )
    async with bench.kafka.running(bench.app):
        await send(bench, value(orders.known, "a"), value(orders.known, "b"))
        await bench.kafka.settle()
    assert (orders.handled, orders.attempts) == (["a", "b"], [1, 1])


async def test_while_the_registry_is_away_records_wait_and_known_schemas_go_on(bench: Bench, orders: Orders) -> None:
    new = orders.server.register("t-value", {**schema("Order"), "doc": "newer"}).id
    policy = {"max_attempts": 1, "then": "dead_letter"}
    async with bench.running(orders.handler, value_format=orders.avro, on_error=policy):
        await send(bench, value(orders.known, "first"))
        await bench.until(lambda: orders.handled == ["first"])
        orders.server.go_away()
        await send(bench, value(new, "waits"), key="1")
        await send(bench, value(orders.known, "goes on"), partition=1)
        await bench.until(lambda: "goes on" in orders.handled)
        await bench.kafka.advance(ms=60_000)
        assert orders.handled == ["first", "goes on"]
        [note] = bench.consumer.status().partitions[0].blocked_by
        assert note == "schema"
        health = bench.app.health.ready(bench.app.status())
        text = str(health)
        assert f"records wait for schema {new}" in text
        assert "cannot be reached" in text
        orders.server.come_back()
        await bench.until(lambda: "waits" in orders.handled)
        assert not any(one.topic.endswith(".dlq") for one in bench.kafka.sent)
        await bench.kafka.settle()
    assert orders.attempts == [1, 1, 1]
    assert bench.committed() == 2


async def test_an_answer_that_is_not_about_the_schema_delays_its_records(bench: Bench, orders: Orders) -> None:
    orders.server.fail_requests(500, 429, 401, 403, 503)
    policy = {"max_attempts": 1, "then": "dead_letter"}
    async with bench.running(orders.handler, value_format=orders.avro, on_error=policy):
        await send(bench, value(orders.known, "a"))
        await bench.kafka.settle()
    assert (orders.handled, orders.attempts) == (["a"], [1])
    assert [request.status for request in orders.server.requests] == [500, 429, 401, 403, 503, 200]


async def test_records_of_one_key_stay_in_order_behind_one_that_waits(bench: Bench, orders: Orders) -> None:
    new = orders.server.register("t-value", {**schema("Order"), "doc": "newer"}).id
    async with bench.running(orders.handler, value_format=orders.avro, concurrency=4):
        await send(bench, value(orders.known, "0"), key="k")
        await bench.until(lambda: orders.handled == ["0"])
        with orders.server.outage():
            await send(bench, value(new, "1"), value(orders.known, "2"), key="k")
            await send(bench, value(orders.known, "other"), key="l")
            await bench.until(lambda: "other" in orders.handled)
        await bench.kafka.settle()
    assert orders.handled == ["0", "other", "1", "2"]


def async_endpoint(handled: list[str]) -> Any:
    async def on_order(order: dict[str, Any]) -> None:
        handled.append(order["id"])

    return on_order


def thread_endpoint(handled: list[str]) -> Any:
    def on_order(order: dict[str, Any]) -> None:
        handled.append(order["id"])

    return on_order


@pytest.mark.parametrize("bad", [value(99, "unknown"), b"{}", b"", value(1, "cut")[:-1]], ids=str)
@pytest.mark.parametrize("endpoint", [async_endpoint, thread_endpoint])
@pytest.mark.parametrize("declared", ["typed", "default"])
@pytest.mark.parametrize("middleware", STACKS.values(), ids=list(STACKS))
async def test_a_value_that_cannot_be_decoded_is_a_dead_letter_after_one_attempt(
    bench: Bench,
    orders: Orders,
    bad: bytes,
    endpoint: Any,
    declared: str,
    middleware: list[Middleware] | None,
) -> None:
    handler = Handler()
    (handler.default() if declared == "default" else handler.event("Order"))(endpoint(orders.handled))
    config: Any = {"topics": [TOPIC], "group_id": "g", "auto_offset_reset": "earliest", "value_format": orders.avro}
    policy = {"max_attempts": 5, "then": "dead_letter"}
    bench.app.add_consumer({**config, "on_error": policy}, handler, middleware=middleware)
    async with bench.kafka.running(bench.app):
        await send(bench, value(orders.known, "first"), bad, value(orders.known, "next"))
        await bench.kafka.settle()
    [letter] = [one for one in bench.kafka.sent if one.topic.endswith(".dlq")]
    assert orders.handled == ["first", "next"]
    assert dict(letter.headers)["evkafka-dlq-attempts"] == b"1"
    assert dict(letter.headers)["evkafka-dlq-error-type"] == b"evkafka.exceptions.DecodeError"
    assert letter.value == bad


async def test_a_revoked_record_that_waits_is_read_by_its_next_owner(bench: Bench, orders: Orders) -> None:
    orders.server.go_away()
    async with bench.running(orders.handler, value_format=orders.avro):
        await send(bench, value(orders.known, "a"))
        await bench.until(lambda: "schema" in bench.consumer.status().partitions[0].blocked_by)
    assert (orders.handled, bench.committed()) == ([], 0)
    orders.server.come_back()
    again = Bench(bench.kafka)
    async with again.running(orders.handler, value_format=orders.avro):
        await again.kafka.settle()
    assert (orders.handled, orders.attempts) == (["a"], [1])


async def test_batches_and_threads_wait_too(bench: Bench, orders: Orders) -> None:
    handler, batches, threaded = Handler(), list[list[str]](), list[str]()
    other = orders.server.register("t-value", schema("Other")).id

    @handler.event("Order", batch=True, max_wait_ms=1000)
    async def on_orders(payloads: list[dict[str, Any]]) -> None:
        batches.append([one["id"] for one in payloads])

    @handler.event("Other")
    def on_other(order: dict[str, Any]) -> None:
        threaded.append(order["id"])

    async with bench.running(handler, value_format=orders.avro, concurrency=2):
        await send(bench, *(value(orders.known, str(number)) for number in range(5)), value(other, "x"))
        await bench.kafka.settle()
    assert [one for batch in batches for one in batch] == ["0", "1", "2", "3", "4"]
    assert len(batches) < 5
    assert threaded == ["x"]


async def test_a_tombstone_needs_no_schema(bench: Bench, orders: Orders) -> None:
    handler, handled = Handler(), list[Any]()

    @handler.event("Order")
    async def on_order(order: dict[str, Any] | None) -> None:
        handled.append(order)

    async with bench.running(handler, value_format=orders.avro):
        await bench.kafka.send(TOPIC, None, "Order", key="k")
        await bench.kafka.settle()
    assert handled == [None]


async def test_each_topic_may_have_its_own_format(bench: Bench, orders: Orders) -> None:
    handler, handled = Handler(), list[Any]()

    @handler.event("Order")
    async def on_order(order: dict[str, Any]) -> None:
        handled.append(order["id"])

    bench.kafka.create_topic("j", 1)
    topics = [TOPIC, {"name": "j", "value_format": "json", "event_type": "Order"}]
    async with bench.running(handler, topics=topics, value_format=orders.avro):
        await send(bench, value(orders.known, "avro"))
        await bench.kafka.send("j", {"id": "json"}, None)
        await bench.kafka.settle()
    assert sorted(handled) == ["avro", "json"]


async def test_a_record_read_from_a_retry_topic_has_the_format_of_its_own_topic(bench: Bench, orders: Orders) -> None:
    handler, seen = Handler(), list[str]()

    @handler.event("Order")
    async def on_order(order: dict[str, Any]) -> None:
        seen.append(order["id"])
        if len(seen) == 1:
            raise ConnectionError

    topics = [{"name": TOPIC, "value_format": orders.avro}]
    policy = {"max_attempts": 1, "retry_topics": [1000], "then": "dead_letter"}
    async with bench.running(handler, topics=topics, on_error=policy):
        await send(bench, value(orders.known, "a"))
        await bench.kafka.settle()
    assert seen == ["a", "a"]


async def test_a_failed_request_that_ends_after_the_stop_disturbs_nothing(bench: Bench, orders: Orders) -> None:
    with orders.server.latency(60_000):
        async with bench.running(orders.handler, value_format=orders.avro):
            await send(bench, value(orders.known, "a"))
            await bench.until(lambda: "schema" in bench.consumer.status().partitions[0].blocked_by)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("evkafka-schema")]


class TestARecordThatKillsItsProcess:
    """A process begins without schemas, and the endpoint of a record is known by the name of its schema."""

    async def die_or_go_on(self, kafka: InMemoryKafka, server: InMemoryRegistry, *, until: Callable[[], bool]) -> bool:
        """Run an app until its process dies, or this is so. Returns whether it has died."""
        dies, handler, registry = asyncio.Event(), Handler(), SchemaRegistry(server.url)

        @handler.event("Order", on_error={"max_attempts": 2, "then": "dead_letter"})
        async def on_order(order: dict[str, Any]) -> None:
            dies.set()
            await asyncio.get_running_loop().create_future()

        app = EVKafkaApp()
        app.add_consumer(
            {"topics": [TOPIC], "group_id": GROUP, "auto_offset_reset": "earliest", "value_format": Avro(registry)},
            handler,
        )
        async with kafka.running(app, joined=False):
            while not (dies.is_set() or until()):
                await kafka.advance(ms=10)
            await kafka.crash(app)
        await registry.close()
        await kafka.advance(ms=20_000)  # its session expires
        return dies.is_set()

    async def test_becomes_a_dead_letter_by_the_policy_of_its_endpoint(
        self, bench: Bench, server: InMemoryRegistry
    ) -> None:
        await send(bench, value(server.register("t-value", schema("Order")).id, "a"))
        letters = f"{TOPIC}.{GROUP}.dlq"
        lives = [
            await self.die_or_go_on(bench.kafka, server, until=lambda: bool(bench.kafka.records(letters)))
            for _ in range(3)
        ]
        assert lives == [True, True, False]

    async def test_is_not_counted_as_killed_while_its_schema_is_asked_for(
        self, bench: Bench, server: InMemoryRegistry
    ) -> None:
        await send(bench, value(server.register("t-value", schema("Order")).id, "a"))
        assert await self.die_or_go_on(bench.kafka, server, until=lambda: False)
        until_s = bench.kafka.clock.now() + 40.0
        with server.outage():
            await self.die_or_go_on(bench.kafka, server, until=lambda: bench.kafka.clock.now() > until_s)
        assert "begun:1" in bench.kafka.committed_metadata(GROUP, TOPIC)

    async def test_delays_no_other_partition_while_its_schema_is_asked_for(self, bench: Bench, orders: Orders) -> None:
        """Both partitions have lost their owner, so records of one at a time are handled."""
        bench.kafka.create_topic("u", 1)
        await send(bench, value(orders.known, "a"))
        for number in range(3):
            await bench.kafka.send("u", b"%d" % number, "E", key="k")
        dies, handled = asyncio.Event(), list[int]()

        def app() -> EVKafkaApp:
            app, handler = EVKafkaApp(), Handler()

            @handler.event("E")
            async def on_event(value: bytes, request: Request) -> None:
                if not dies.is_set():
                    dies.set()
                    await asyncio.get_running_loop().create_future()
                handled.append(request.offset)

            topics: Any = [{"name": TOPIC, "value_format": orders.avro}, "u"]
            app.add_consumer({"topics": topics, "group_id": GROUP, "auto_offset_reset": "earliest"}, handler)
            return app

        with orders.server.outage():
            first = app()
            async with bench.kafka.running(first, joined=False):
                await bench.until(dies.is_set)
                await bench.kafka.crash(first)
            await bench.kafka.advance(ms=20_000)  # its session expires
            assert "begun:1" in bench.kafka.committed_metadata(GROUP, TOPIC)
            assert "begun:1" in bench.kafka.committed_metadata(GROUP, "u")
            async with bench.kafka.running(app()):
                await bench.until(lambda: len(handled) == 3)
        assert handled == [0, 1, 2]
