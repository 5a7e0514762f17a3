"""A user's program, for the type checkers: mypy --strict and pyright must accept it. It is not run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

from pydantic import BaseModel

from evkafka import (
    App,
    BrokerConfig,
    ConsumerConfig,
    Context,
    DeadLetter,
    Depends,
    ErrorPolicy,
    EVKafkaApp,
    EVKafkaProducer,
    Handler,
    ProducerConfig,
    RecordMetadata,
    Request,
    Retry,
    Sender,
    Skip,
    TestClient,
    consumer_config,
)
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.testing import AsyncTestClient, Delivery, InMemoryKafka, RealKafka, SentEvent


class Order(BaseModel):
    order_id: str


class AppState(TypedDict):
    engine: int


handler, sender = Handler(), Sender()


@sender.event("OrderPlaced", topic="orders", key_field="order_id")
async def send_order(order: Order) -> None: ...


@sender.event("FlightSeen", key=lambda event: event["tail"])
async def send_flight(event: dict[str, Any]) -> None: ...


@handler.event(
    "OrderPlaced",
    timeout_ms=500,
    on_error={
        "max_attempts": 5,
        "then": "dead_letter",
        "dead_letter_topic": "{topic}.placed.dlq",
        "non_retryable": [ValueError],
    },
)
async def on_order(order: Order, request: Request[AppState]) -> Retry | Skip | None:
    number: int = request.state["engine"]
    print(number, request.context.consumer.name, order.order_id)
    return Retry(after_ms=5_000)


@handler.event("OrderPaid", summary="Paid", tags=["orders"])
async def on_paid(order: Order, request: Request) -> None:
    request.state.engine.foo()
    metadata = await send_order(order, key="k", partition=0, headers={"trace": b"1"})
    print(metadata.offset, (await send_order(order=order)).offset)
    raise DeadLetter("x")


@handler.event("FlightSeen")
def on_flight(flight: dict[str, Any]) -> None:
    print(send_flight.from_thread(flight).offset)


@handler.default()
async def on_anything(value: bytes | None) -> None: ...


async def engine_of(request: Request[AppState]) -> int:
    return request.state["engine"]


async def session(engine: Annotated[int, Depends(engine_of)]) -> AsyncIterator[int]:
    yield engine


def ledger(request: Request) -> Iterator[str]:
    yield request.topic


class Repository:
    def __init__(self, session: Annotated[int, Depends(session)]) -> None:
        self.session = session


Tx = Annotated[int, Depends(session)]


@handler.event("OrderShipped")
async def on_shipped(order: Order, tx: Tx, repository: Annotated[Repository, Depends(Repository)]) -> Skip | None:
    number: int = tx + repository.session
    return Skip("none") if number else None


@handler.event("OrderReturned", batch=True)
def on_returned(orders: list[Order], name: Annotated[str, Depends(ledger, use_cache=False)]) -> None:
    print(name.upper(), orders[0].order_id)


class CountIn:
    def __init__(self, app: App, label: str = "") -> None:
        self.app, self.label = app, label

    async def __call__(self, context: Context) -> None:
        await self.app(context)


stack = [Middleware(CountIn, label="x"), Middleware(JsonTypedDecoderMiddleware, type_header_name="X-Type")]

policy: ErrorPolicy = {"max_attempts": 3, "then": "skip"}
broker: BrokerConfig = {
    "bootstrap_servers": os.environ.get("KAFKA", "localhost:9092"),
    "sasl_plain_password": os.environ.get("PASSWORD"),
}
consumer: ConsumerConfig = {
    "topics": ["orders", {"name": "orders-eu", "description": "The other ones"}],
    "group_id": "billing",
    "concurrency": 16,
    "on_error": {"max_attempts": 3, "dead_letter_limit": None},
    **broker,
}
producer: ProducerConfig = {"acks": 1, **broker}


def from_yaml(text: str) -> dict[str, Any]:
    return {"topics": [text]}


@asynccontextmanager
async def lifespan() -> AsyncIterator[AppState]:
    yield {"engine": 1}


async def catch_all(context: Context) -> None: ...


app = EVKafkaApp(lifespan=lifespan, middleware=stack)
app.add_consumer(consumer, handler, name="a", middleware=stack)
app.add_consumer(consumer_config(from_yaml("")), handler)
app.add_consumer(consumer, catch_all)
app.add_producer(producer, sender)


app.dependency_overrides[session] = lambda: 1
app.dependency_overrides = {engine_of: lambda: 2}
app.dependency_overrides.clear()


@asynccontextmanager
async def inside_another(_: object) -> AsyncIterator[Mapping[str, Any]]:
    async with app.running() as state:
        yield {**state, "db": 1}


async def load(rows: list[dict[str, Any]]) -> list[RecordMetadata]:
    async with EVKafkaProducer(producer) as one:
        futures = [await one.enqueue_event(row, "F", key=str(row["tail"]), headers={"a": "b"}) for row in rows]
        await (await one.send_event({}, "E"))
        topic: str = (await one.send_event({}, "E")).topic_partition.topic
        print(topic)
        return list(await asyncio.gather(*futures))


def test_an_order(evkafka_client: TestClient, evkafka_kafka: RealKafka) -> None:
    with TestClient(app) as client:
        delivery: Delivery = client.send_event(Order(order_id="1"), "OrderPlaced", "orders", key="1", consumer_name="a")
        assert delivery.outcome == "retry"
        assert delivery.error is None
        sent: list[SentEvent] = client.sent
        key: bytes | None = sent[0].key
        value: bytes = sent[0].value
        print(key, value, sent[0].headers["Event-Type"].decode())
    with TestClient(app, raise_endpoint_errors=False) as client:
        client.send_event({}, "OrderPlaced", "orders", headers={"a": "b", "c": None})
        batch: list[Delivery] = client.send_batch(
            [Order(order_id="1")], "X", "orders", key=lambda order: order.order_id
        )
        print(batch)
    evkafka_client.send_event(None, "OrderPlaced", "orders")
    name: str = evkafka_kafka.topic(partitions=3)
    print(name, evkafka_kafka.bootstrap_servers)


async def test_an_order_in_a_loop(evkafka_memory: InMemoryKafka, evkafka_kafka: RealKafka) -> None:
    async with AsyncTestClient(app) as client:
        delivery = await client.send_event({}, "OrderPlaced", "orders", partition=1, timestamp_ms=0)
        error: BaseException | None = delivery.error
        print(error)
    await evkafka_memory.settle()
    name: str = await evkafka_kafka.topic()
    print(name)
