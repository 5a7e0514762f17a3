"""The test clients and the in-memory Kafka, for apps whose values have a schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka import DecodeError, EVKafkaApp, Handler, Sender
from evkafka.exceptions import ConfigError, EncodeError, RegistryUnavailable
from evkafka.formats import Avro, JsonSchema, SchemaRegistry
from evkafka.testing import AsyncTestClient, InMemoryKafka, InMemoryRegistry, TestClient, use_registry


class Order(BaseModel):
    id: str
    cents: int = 0


class Bill(BaseModel):
    order: str


@dataclass
class Shop:
    app: EVKafkaApp
    avro: Avro
    handled: list[Any] = field(default_factory=list)


@pytest.fixture
def shop() -> Shop:
    """Bills each order; both topics are in Avro."""
    avro = Avro(SchemaRegistry("http://registry.invalid:8081"))
    shop, handler, sender = Shop(EVKafkaApp(), avro), Handler(), Sender(value_format=avro)

    @sender.event("Bill", topic="bills")
    async def send_bill(bill: Bill) -> None: ...

    @sender.event("Note", topic="notes", value_format="json")
    async def send_note(note: dict[str, str]) -> None: ...

    @handler.event("Order")
    async def on_order(order: Order) -> None:
        shop.handled.append(order)
        await send_bill(Bill(order=order.id))
        await send_note({"order": order.id})

    config: Any = {"topics": ["orders"], "group_id": "g", "auto_offset_reset": "earliest", "value_format": avro}
    shop.app.add_consumer(config, handler)
    shop.app.add_producer({}, sender)
    return shop


class TestTheClient:
    @pytest.mark.parametrize("event", [Order(id="o-1", cents=5), {"id": "o-1", "cents": 5}])
    def test_encodes_events_in_the_format_of_the_topic(self, shop: Shop, event: Any) -> None:
        with use_registry() as registry, TestClient(shop.app) as client:
            client.send_event(event, "Order", "orders")
            assert shop.handled == [Order(id="o-1", cents=5)]
            assert [one.schema_type for one in registry.versions("orders-value")] == ["AVRO"]

    async def test_shows_events_that_were_sent_as_if_they_were_json(self, shop: Shop) -> None:
        with use_registry():
            async with AsyncTestClient(shop.app) as client:
                await client.send_event(Order(id="o-1"), "Order", "orders")
        bill, note = client.sent
        assert (bill.event, note.event) == ({"order": "o-1"}, {"order": "o-1"})
        assert bill.value == b"\0\0\0\0\1\x06o-1"
        assert note.value == b'{"order":"o-1"}'

    def test_writes_by_the_schema_that_the_registry_has(self, shop: Shop) -> None:
        registry = InMemoryRegistry()
        schema = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
        registry.register("orders-value", schema)
        with use_registry(registry), TestClient(shop.app) as client:
            with pytest.raises(EncodeError, match=r"the schema has no field Order\.cents"):
                client.send_event(Order(id="o-1"), "Order", "orders")
            assert len(registry.versions("orders-value")) == 1

    def test_delivers_bytes_as_they_are(self, shop: Shop) -> None:
        with use_registry(), TestClient(shop.app) as client, pytest.raises(DecodeError, match="magic byte"):
            client.send_event(b"{}", "Order", "orders")

    def test_waits_for_a_schema_that_is_not_known_yet(self, shop: Shop) -> None:
        registry = InMemoryRegistry()
        schema = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
        registry.register("orders-value", schema)
        with use_registry(registry), TestClient(shop.app) as client:
            client.send_batch([b"\0\0\0\0\1\x06o-1", b"\0\0\0\0\1\x06o-2"], None, "orders")
        assert [order.id for order in shop.handled] == ["o-1", "o-2"]

    async def test_says_why_an_event_cannot_be_encoded(self, shop: Shop) -> None:
        with use_registry():
            async with AsyncTestClient(shop.app) as client:
                with pytest.raises(EncodeError, match="to deliver such a value, pass its bytes"):
                    await client.send_event({"id": 1}, "Order", "orders")


async def test_an_app_runs_on_the_in_memory_kafka(shop: Shop) -> None:
    with use_registry() as registry:
        async with InMemoryKafka() as kafka, kafka.running(shop.app):
            value = await shop.avro.encode(Order(id="o-1"), topic="orders")
            await kafka.send("orders", value, "Order")
            await kafka.settle()
            [bill] = kafka.records("bills")
            assert bill.value == await shop.avro.encode(Bill(order="o-1"), topic="bills")
        assert registry.versions("notes-value") == []


def test_without_a_replacement_a_test_client_names_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evkafka.serde.formats.registry.TRY_AGAIN_S", 0.0)
    with pytest.raises(RegistryUnavailable, match=r"cannot be reached.*`with use_registry\(\):`"), TestClient(shop.app):
        raise AssertionError


async def test_without_a_replacement_an_app_does_not_start_when_its_registry_is_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evkafka.serde.formats.registry.TRY_AGAIN_S", 0.0)
    with pytest.raises(Exception, match=r"schema registry http://registry.invalid:8081 cannot be reached"):
        async with InMemoryKafka() as kafka, kafka.running(shop.app):
            raise AssertionError


@pytest.mark.parametrize("wrong", ["avro", Avro, 1])
def test_a_value_format_that_is_none_is_an_error(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="value_format"):
        Sender(value_format=wrong)
    with pytest.raises(ConfigError, match=r"value_format: .* is not a format; give 'json', or Avro"):
        EVKafkaApp().add_consumer({"topics": ["t"], "group_id": "g", "value_format": wrong}, Handler())


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_a_cloud_event_may_have_data_with_a_schema(shop: Shop, mode: Any) -> None:
    handler, sender, seen = (
        Handler(),
        Sender(envelope="cloudevents", source="/s", mode=mode, value_format=shop.avro),
        [],
    )
    app = EVKafkaApp()

    @sender.event("Order", topic="orders")
    async def send_order(order: Order) -> None: ...

    @handler.event("Order")
    async def on_order(order: Order) -> None:
        seen.append(order)

    config: Any = {"topics": ["orders"], "group_id": "g", "auto_offset_reset": "earliest"}
    app.add_consumer({**config, "value_format": shop.avro, "envelope": "cloudevents"}, handler)
    app.add_producer({}, sender)
    with use_registry():
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send_order(Order(id="o-1"))
            await kafka.settle()
    assert seen == [Order(id="o-1")]


@pytest.mark.parametrize(("kind", "value"), [(Avro, b"\6abc"), (JsonSchema, b'"abc"')])
async def test_a_text_has_the_schema_of_a_string(kind: type[Avro | JsonSchema], value: bytes) -> None:
    value_format = kind(SchemaRegistry("http://registry.invalid:8081"), auto_register=True)
    handler, sender, got, app = Handler(), Sender(value_format=value_format), list[str](), EVKafkaApp()

    @sender.event("Name", topic="names")
    async def send_name(name: str) -> None: ...

    @handler.event("Name")
    async def on_name(name: str) -> None:
        got.append(name)

    config: Any = {"topics": ["names"], "group_id": "g", "auto_offset_reset": "earliest", "value_format": value_format}
    app.add_consumer(config, handler)
    app.add_producer({}, sender)
    with use_registry():
        async with InMemoryKafka() as kafka, kafka.running(app):
            await send_name("abc")
            await kafka.settle()
            [record] = kafka.records("names")
    assert (got, record.value) == (["abc"], b"\0\0\0\0\1" + value)
