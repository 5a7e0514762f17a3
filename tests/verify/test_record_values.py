"""The values that a run sends to an app whose consumer has a value format."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from evkafka import EVKafkaApp, Handler
from evkafka.exceptions import ConfigError, RegistryUnavailable
from evkafka.formats import Avro, JsonSchema, Protobuf, SchemaRegistry
from evkafka.service.json_to_topic_format import PayloadFault
from evkafka.testing import AsyncTestClient, InMemoryKafka, InMemoryRegistry, use_registry
from evkafka.verify import Options
from evkafka.verify.history import History, HistoryReader
from evkafka.verify.instrumentation import instrument_app
from evkafka.verify.load import NumberedProducer
from evkafka.verify.record_values import create_app_decodable_value_function
from evkafka.verify.worker_task import WorkerTask

PAYLOAD = '{"number": {n}, "customer": "{key}"}'
REGISTRY = SchemaRegistry("http://registry.invalid:8081")

AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "number", "type": "int"}, {"name": "customer", "type": "string"}],
}
JSON_SCHEMA = {
    "type": "object",
    "title": "Order",
    "properties": {"number": {"type": "integer"}, "customer": {"type": "string"}},
}
PROTOBUF = 'syntax = "proto3"; message Order { int64 number = 1; string customer = 2; }'


class Order(BaseModel):
    number: int = Field(lt=1_000_000)
    customer: str


class Shop:
    """An app with one consumer, and the orders that it has handled."""

    def __init__(self, **config: Any) -> None:
        self.app, self.handled = EVKafkaApp(), list[Order]()
        handler = Handler()

        @handler.event("OrderPlaced")
        async def on_order(order: Order) -> None:
            self.handled.append(order)

        given: Any = {"group_id": "g", **({} if "topic_pattern" in config else {"topics": ["orders"]}), **config}
        self.app.add_consumer(given, handler, "billing")


def options(**more: Any) -> Options:
    return Options(**{"app": "shop:app", "event_type": "OrderPlaced", "payload": PAYLOAD, **more})


def task(home: Path, **more: Any) -> WorkerTask:
    return WorkerTask("1.1", str(home / "journal"), "run", "run", "localhost:1", **more)


@pytest.fixture
def registry() -> InMemoryRegistry:
    """It has a schema for the app's topic, and none for the run's."""
    registry = InMemoryRegistry()
    registry.register("orders-value", AVRO)
    return registry


class TestAFormat:
    @pytest.mark.parametrize(
        ("value_format", "schema", "schema_type"),
        [(Avro, AVRO, "AVRO"), (JsonSchema, JSON_SCHEMA, "JSON"), (Protobuf, PROTOBUF, "PROTOBUF")],
    )
    @pytest.mark.parametrize("place", ["consumer", "topic"])
    async def test_is_that_of_the_values_and_the_endpoint_decodes_them_from_the_topic_of_the_run(
        self, tmp_path: Path, value_format: Callable[..., Any], schema: Any, schema_type: Any, place: str
    ) -> None:
        one, registry = value_format(REGISTRY), InMemoryRegistry()
        number = registry.register("orders-value", schema, schema_type).id
        config = {"value_format": one} if place == "consumer" else {"topics": [{"name": "orders", "value_format": one}]}
        shop = Shop(**config)
        with use_registry(registry):
            value = (await create_app_decodable_value_function(shop.app, options()))(7, "k3")
            instrument_app(shop.app, task(tmp_path), History(tmp_path / "journal", "1.1"))
            async with AsyncTestClient(shop.app) as client:
                await client.send_event(value, "OrderPlaced", "run", key="k3")
        assert value[:5] == b"\0" + number.to_bytes(4)
        assert shop.handled == [Order(number=7, customer="k3")]
        assert [entry.event for entry in HistoryReader(tmp_path / "journal").read_new()] == ["begin", "end"]

    async def test_json_sends_the_payload_as_it_is(self) -> None:
        value_of = await create_app_decodable_value_function(Shop().app, options())
        assert value_of(7, "k3") == '{"number": 7, "customer": "k3"}'

    async def test_of_an_event_type_without_an_endpoint_is_still_written(self, registry: InMemoryRegistry) -> None:
        with use_registry(registry):
            value_of = await create_app_decodable_value_function(
                Shop(value_format=Avro(REGISTRY)).app, options(event_type="Other")
            )
        assert value_of(7, "k3") == b"\0\0\0\0\1\x0e\x04k3"


class TestBeforeTheRun:
    async def test_a_subject_without_a_schema_is_an_error_and_nothing_is_registered(self) -> None:
        registry = InMemoryRegistry()
        shop = Shop(value_format=Avro(REGISTRY, auto_register=True))
        with use_registry(registry), pytest.raises(ConfigError, match="latest schema of subject 'orders-value'"):
            await create_app_decodable_value_function(shop.app, options())
        assert registry.versions("orders-value") == []

    async def test_a_registry_that_is_away_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evkafka.serde.formats.registry.TRY_AGAIN_S", 0.0)
        shop = Shop(value_format=Avro(REGISTRY))
        with pytest.raises(
            RegistryUnavailable, match=r"schema registry http://registry.invalid:8081 cannot be reached"
        ):
            await create_app_decodable_value_function(shop.app, options())

    @pytest.mark.parametrize(
        ("payload", "why"),
        [
            ('{"number": {n}}', r"with \{n\} = 0: customer: Field required"),
            ("{n", r"with \{n\} = 0: it is not JSON: "),
            ('{"number": 9{n}0, "customer": "{key}"}', r"with \{n\} = 24000: number: Input should be less"),
        ],
    )
    async def test_a_payload_that_does_not_fit_is_an_error(
        self, registry: InMemoryRegistry, payload: str, why: str
    ) -> None:
        shop = Shop(value_format=Avro(REGISTRY))
        expected = f"--payload cannot be written in Avro for topic 'orders', {why}"
        with use_registry(registry), pytest.raises(ConfigError, match=expected):
            await create_app_decodable_value_function(shop.app, options(payload=payload))


class TestTheTopic:
    """Of the app, whose format and schema the records get."""

    @pytest.mark.parametrize("config", [{"topics": ["orders", "refunds"]}, {"topic_pattern": "orders|refunds"}])
    async def test_is_chosen_if_the_consumer_reads_several(
        self, registry: InMemoryRegistry, config: dict[str, Any]
    ) -> None:
        shop = Shop(value_format=Avro(REGISTRY), **config)
        with use_registry(registry):
            with pytest.raises(ConfigError, match=r"consumer 'billing' reads several topics.*choose one with --topic"):
                await create_app_decodable_value_function(shop.app, options())
            value_of = await create_app_decodable_value_function(shop.app, options(topic="orders"))
            assert value_of(7, "k3") == b"\0\0\0\0\1\x0e\x04k3"
            with pytest.raises(ConfigError, match="consumer 'billing' does not read topic 'payments'"):
                await create_app_decodable_value_function(shop.app, options(topic="payments"))

    async def test_gives_the_topic_of_the_run_its_format(self, tmp_path: Path) -> None:
        topics = [{"name": "orders", "value_format": Avro(REGISTRY)}, {"name": "refunds", "value_format": "json"}]
        shop = Shop(topics=topics)
        instrument_app(shop.app, task(tmp_path, app_topic="refunds"), History(tmp_path / "journal", "1.1"))
        async with AsyncTestClient(shop.app) as client:
            await client.send_event(b'{"number": 1, "customer": "k"}', "OrderPlaced", "run")
        assert shop.handled == [Order(number=1, customer="k")]

    async def test_need_not_be_chosen_if_all_have_json(self) -> None:
        shop = Shop(topics=["orders", "refunds"])
        assert (await create_app_decodable_value_function(shop.app, options()))(
            7, "k3"
        ) == '{"number": 7, "customer": "k3"}'


async def test_a_value_that_cannot_be_written_during_the_run_is_a_record_that_was_never_sent() -> None:
    others_follow = asyncio.Event()

    def value_of(number: int, key: str) -> str:
        if number == 0:
            raise PayloadFault("number: Input should be greater than 0")
        others_follow.set()
        return "{}"

    async with InMemoryKafka():
        producer = NumberedProducer(
            "localhost:1", "run", seed=1, rate=1000, keys=1, event_type="OrderPlaced", value_of=value_of
        )
        load = asyncio.ensure_future(producer.run(600.0))
        await others_follow.wait()
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
    first = producer.sent[0]
    assert (first.error, first.never_written, first.address) == ("number: Input should be greater than 0", True, None)
