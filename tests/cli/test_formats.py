"""Commands and the page of records on a real Kafka, for a topic whose values have a schema; confluent-kafka is at the
other end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from evkafka.broker import KafkaBroker
from evkafka.cli.app_loader import load_app
from evkafka.testing import InMemoryRegistry
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.record_browser import read_records
from evkafka.ui.record_query import parse_record_query
from tests.cli.support import Call
from tests.support.kafka_topics import MakeTopic

APP = """
from pydantic import BaseModel
from evkafka import EVKafkaApp, Handler
from evkafka.formats import Avro, SchemaRegistry

class Order(BaseModel):
    id: str
    cents: int

handler = Handler()

@handler.event("Order")
async def on_order(order: Order) -> None: ...

app = EVKafkaApp()
avro = Avro(SchemaRegistry({url!r}))
app.add_consumer(
    {{"topics": [{topic!r}], "group_id": "g", "bootstrap_servers": {servers!r}, "value_format": avro}}, handler
)
"""

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "string"}, {"name": "cents", "type": "long"}],
}

pytestmark = pytest.mark.kafka


@pytest.fixture
def registry() -> Iterator[InMemoryRegistry]:
    with InMemoryRegistry() as registry:
        yield registry


@pytest.fixture
async def orders(
    kafka_broker: KafkaBroker, topic: MakeTopic, call_here: Call, tmp_path: Path, registry: InMemoryRegistry
) -> str:
    """A topic with one order that confluent-kafka's serializer has written, and the app `avro_shop:app`."""
    name = await topic(partitions=1)
    text = APP.format(url=registry.url, topic=name, servers=kafka_broker.bootstrap_servers)
    (tmp_path / "avro_shop.py").write_text(text, encoding="utf-8")
    registry.register(f"{name}-value", ORDER)
    with SchemaRegistryClient({"url": registry.url}) as client:
        serializer = AvroSerializer(client, json.dumps(ORDER), conf={"auto.register.schemas": False})
        value = serializer({"id": "a", "cents": 1}, SerializationContext(name, MessageField.VALUE))
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
        await producer.send_and_wait(name, value, partition=0)
        await producer.send_and_wait(name, b"\0\0\0\0\x63?", partition=0)
    return name


async def last_value(servers: str, topic: str) -> Any:
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        at = TopicPartition(topic, 0)
        consumer.assign([at])
        consumer.seek(at, (await consumer.end_offsets([at]))[at] - 1)
        return (await consumer.getone(at)).value


def test_commands_read_and_write_the_format(
    orders: str, call_here: Call, kafka_broker: KafkaBroker, registry: InMemoryRegistry
) -> None:
    servers = kafka_broker.bootstrap_servers
    for options in (("--app", "avro_shop:app"), ("--bootstrap-servers", servers, "--registry", registry.url)):
        shown = call_here("tail", orders, "--no-follow", "--json", *options)
        first, second = map(json.loads, shown.out.splitlines())
        assert (first["type"], first["value"]) == ("Order", {"id": "a", "cents": 1}), shown.err
        assert "Schema 99 not found" in second["not_decoded"]
    found = call_here("tail", orders, "--no-follow", "--where", "cents=1", "--app", "avro_shop:app")
    assert 'Order  {"id": "a", "cents": 1}' in found.out

    sent = call_here("send", orders, '{"id": "b", "cents": 2}', "--type", "Order", "--app", "avro_shop:app")
    assert sent.code == 0, sent.err
    with SchemaRegistryClient({"url": registry.url}) as client:
        value = asyncio.run(last_value(servers, orders))
        decoded = AvroDeserializer(client)(value, SerializationContext(orders, MessageField.VALUE))
    assert decoded == {"id": "b", "cents": 2}
    refused = call_here("send", orders, '{"id": "b"}', "--type", "Order", "--app", "avro_shop:app")
    assert (refused.code, "cents: Field required" in refused.err) == (1, True)

    replayed = call_here("replay", "avro_shop:app", "--topic", orders, "--from", "earliest", "--dry-run", "--json")
    assert json.loads(replayed.out)["outcomes"] == {"would run": 2, "would fail": 1}, replayed


async def test_the_page_of_records_shows_decoded_values(orders: str, call_here: Call) -> None:
    app: Any = load_app("avro_shop:app", Path())
    background = BackgroundRunner()
    try:
        page = await read_records(app, background, parse_record_query({"topic": orders}))
    finally:
        background.shut_down()
    texts = {row["offset"]: (row["event_type"], row["value"]["text"]) for row in page["records"] if row["value"]}
    assert texts[0] == ("Order", '{\n  "id": "a",\n  "cents": 1\n}')
    assert texts[1][0] is None
