"""Event types, topics and names that are members of a `(str, Enum)`: such a member equals its value, but Python formats
it as `Name.of_order`."""

from __future__ import annotations

import enum
import logging
from typing import Any

import pytest

from evkafka import DeadLetter, EVKafkaApp, EVKafkaProducer, Handler, Request, Sender, Skip, TestClient
from evkafka.exceptions import ConfigError, NotAssigned
from evkafka.testing import AsyncTestClient, InMemoryKafka


class Name(str, enum.Enum):  # noqa: UP042 - a StrEnum is formatted as its value
    of_order = "OrderPlaced"
    of_bill = "Billed"
    orders = "orders"
    bills = "bills"
    reader = "reader"
    writer = "writer"
    group = "billing"
    title = "Shop"
    version = "1.2.0"
    identifier = "id"
    trace = "x-trace"
    reason = "no rate"


NO_RATE = Name.reason


class Number(int, enum.Enum):
    one = 1


@pytest.fixture
def app() -> EVKafkaApp:
    handler, sender = Handler(), Sender()

    @sender.event(Name.of_bill, topic=Name.bills, key_field=Name.identifier, tags=[Name.bills])
    async def send_bill(bill: dict[str, Any]) -> None: ...

    @handler.event(Name.of_order, tags=[Name.orders])
    async def on_order(order: dict[str, Any]) -> None:
        await send_bill({"id": 1}, headers={Name.trace: Name.identifier})
        raise DeadLetter(NO_RATE) from ValueError("EUR")

    app = EVKafkaApp(title=Name.title, version=Name.version)
    app.add_consumer(
        {
            "topics": [Name.orders],
            "group_id": Name.group,
            "auto_offset_reset": "earliest",
            "on_error": {
                "max_attempts": 1,
                "then": "dead_letter",
                "dead_letter_topic": "{topic}.{group_id}.{event_type}.dlq",
            },
        },
        handler,
        name=Name.reader,
    )
    app.add_producer({}, sender, name=Name.writer)
    return app


def test_the_contract_document_has_their_values(app: EVKafkaApp) -> None:
    assert "Name." not in app.asyncapi()
    assert "Billed to bills" in app.asyncapi()
    assert "The payload's `id`" in app.asyncapi()


async def test_the_dead_letter_topic_and_its_records_have_their_values(app: EVKafkaApp) -> None:
    async with InMemoryKafka() as kafka, kafka.running(app):
        await kafka.send(Name.orders, {}, event_type=Name.of_order, headers={Name.trace: b"7"})
        await kafka.settle()
        [letter] = kafka.records("orders.billing.OrderPlaced.dlq")
        assert all(type(name) is str for name, _ in letter.headers)
        assert dict(letter.headers)["evkafka-dlq-error-message"] == b"no rate: EUR"
        [bill] = kafka.records(Name.bills)
        assert [type(name) for name, _ in bill.headers] == [str, str]


async def test_the_log_has_their_values(app: EVKafkaApp, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send(Name.orders, {}, event_type=Name.of_order)
            await kafka.settle()
            app.consumer(Name.reader).pause(Name.orders, 0)
    assert "Shop: consumer reader reads orders" in caplog.text
    assert "Name." not in caplog.text


@pytest.mark.parametrize("outcome", [Skip(Name.reason), DeadLetter(Name.reason)], ids=["skip", "dead letter"])
def test_the_reason_of_an_outcome_is_their_value(outcome: Skip | DeadLetter) -> None:
    assert (f"{outcome.reason}", str(outcome)) == ("no rate", "no rate")


async def test_pausing_and_seeking_has_their_values(app: EVKafkaApp) -> None:
    async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
        control = app.consumer(Name.reader)
        control.pause(Name.orders, 0)
        assert [str(one.topic) for one in control.paused] == ["orders"]
        with pytest.raises(NotAssigned, match=r"cannot seek in orders\[7\]"):
            control.seek(Name.orders, 7, 0)


async def test_a_sent_event_has_their_values() -> None:
    async with AsyncTestClient(EVKafkaApp()) as client, EVKafkaProducer({}) as producer:
        confirmed = await producer.send_event({}, Name.of_bill, Name.bills, key=Number.one)
        [sent] = client.sent
    assert [type(one) for one in (sent.event_type, sent.topic, confirmed.topic)] == [str, str, str]
    assert sent.key == b"1"


def test_an_attempt_of_the_test_client_sees_their_values() -> None:
    handler, seen = Handler(), list[str]()

    @handler.event(Name.of_order)
    async def on_order(order: dict[str, Any], request: Request) -> None:
        seen.append(f"{request.topic} {request.event_type}")

    app = EVKafkaApp()
    app.add_consumer({"topics": [Name.orders]}, handler, name=Name.reader)
    with TestClient(app) as client:
        client.send_event({}, Name.of_order, Name.orders, consumer_name=Name.reader)
    assert seen == ["orders OrderPlaced"]


@pytest.mark.parametrize("name", ["", 5])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="the name of a consumer is a non-empty string"):
        EVKafkaApp().add_consumer({"topics": ["orders"], "group_id": "billing"}, Handler(), name=name)


async def test_a_topic_that_is_no_text_is_refused() -> None:
    async with AsyncTestClient(EVKafkaApp()), EVKafkaProducer({}) as producer:
        topic: Any = 5
        with pytest.raises(TypeError, match="topic must be a str; got 5"):
            await producer.send_event({}, "Billed", topic)
