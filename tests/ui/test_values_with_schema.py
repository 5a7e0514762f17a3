"""Values with a schema on the screens of records and dead letters, on a real Kafka: decoded, masked, then searched."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import fastavro
import httpx
import pytest

from evkafka import EVKafkaApp, EVKafkaProducer, Handler
from evkafka.broker import KafkaBroker
from evkafka.formats import Avro, SchemaRegistry
from evkafka.testing import InMemoryRegistry
from tests.support.kafka_topics import MakeTopic

pytestmark = pytest.mark.kafka

AVRO = {
    "type": "record",
    "name": "Account",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "password", "type": "string"},
        {"name": "cents", "type": "long"},
    ],
}
JSON = {"title": "Account", "type": "object"}

ACCOUNTS = [{"user": "olga", "password": "hunter2", "cents": cents} for cents in (10, 1250)]
"""In Avro, the bytes of the first are UTF-8, those of the second are not."""

UNKNOWN_SCHEMA = b"\0\0\0\0\x63" + json.dumps(ACCOUNTS[0]).encode()


@pytest.fixture
def registry() -> Iterator[InMemoryRegistry]:
    with InMemoryRegistry() as registry:
        yield registry


@pytest.fixture(params=["avro", "json-schema"])
def values(request: pytest.FixtureRequest, registry: InMemoryRegistry) -> list[bytes]:
    """The accounts in a format with a schema, and one whose schema the registry does not have."""
    if request.param == "json-schema":
        frame = _frame_of(registry.register("accounts-value", JSON, "JSON").id)
        return [*(frame + json.dumps(account).encode() for account in ACCOUNTS), UNKNOWN_SCHEMA]
    frame = _frame_of(registry.register("accounts-value", AVRO).id)
    written: list[bytes] = []
    for account in ACCOUNTS:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, AVRO, account)
        written.append(frame + buffer.getvalue())
    return [*written, UNKNOWN_SCHEMA]


def _frame_of(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big")


class Screens:
    """What the dashboard shows of a topic and of its dead-letter topic, which have the same records."""

    def __init__(self, client: httpx.AsyncClient, topic: str) -> None:
        self._client = client
        self._topic = topic

    async def records(self, text: str = "") -> list[Any]:
        rows = (await self._ask("records", topic=self._topic, q=text))["records"]
        return sorted(rows, key=lambda row: int(row["offset"]))

    async def dead_letters(self) -> list[Any]:
        rows = (await self._ask("letters", topic=f"{self._topic}.g.dlq"))["letters"]
        return sorted(rows, key=lambda row: int(row["offset"]))

    async def found(self, text: str) -> list[int]:
        return [row["offset"] for row in await self.records(text)]

    async def _ask(self, path: str, **query: str) -> Any:
        answer = await self._client.get(f"ui/api/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def screens(
    kafka_broker: KafkaBroker, topic: MakeTopic, registry: InMemoryRegistry, values: list[bytes]
) -> AsyncIterator[Screens]:
    name = await topic(partitions=1)
    servers = kafka_broker.bootstrap_servers
    async with EVKafkaProducer({"bootstrap_servers": servers}) as producer:
        for written_to in (name, await topic(name=f"{name}.g.dlq", partitions=1)):
            for value in values:
                await producer.send_event(value, "AccountOpened", written_to)
    config: Any = {"topics": [name], "group_id": "g", "bootstrap_servers": servers}
    config |= {
        "value_format": Avro(SchemaRegistry(registry.url)),
        "on_error": {"max_attempts": 1, "then": "dead_letter"},
    }
    app = EVKafkaApp(web=True, web_port=0)
    app.add_consumer(config, Handler())
    async with app.running(), httpx.AsyncClient(base_url=app.web_url or "", timeout=30) as client:
        yield Screens(client, name)


class TestASearch:
    @pytest.mark.parametrize("text", ["olga", '"user":"olga"', '"cents": 1'])
    async def test_finds_a_field_as_it_is_shown(self, screens: Screens, text: str) -> None:
        assert await screens.found(text) == [0, 1]

    @pytest.mark.parametrize("text", ["hunter2", "hunt", "68 75 6e"])
    async def test_does_not_find_a_hidden_field(self, screens: Screens, text: str) -> None:
        assert all("hunter2" not in json.dumps(row["value"]) for row in await screens.records())
        assert await screens.found(text) == []

    async def test_finds_the_reason_why_a_value_cannot_be_decoded(self, screens: Screens) -> None:
        assert await screens.found("schema 99 not found") == [2]


class TestDeadLetters:
    async def test_are_decoded_and_their_secrets_are_hidden(self, screens: Screens) -> None:
        letters = await screens.dead_letters()
        shown = [json.loads(row["value"]["text"]) for row in letters[:2]]
        assert shown == [account | {"password": "***"} for account in ACCOUNTS]


class TestAValueWhoseSchemaIsUnknown:
    async def test_is_not_shown_because_its_secrets_cannot_be_hidden(self, screens: Screens) -> None:
        for row in ((await screens.records())[2], (await screens.dead_letters())[2]):
            assert "cannot be decoded: " in row["value"]["text"]
            assert "olga" not in row["value"]["text"]
            assert row["value"]["size"] == len(UNKNOWN_SCHEMA)
