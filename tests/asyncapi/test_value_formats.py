"""Values with a schema in the contract: its format, where the id is, and the schema of what is sent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.formats import Avro, Protobuf, SchemaRegistry
from tests.asyncapi.documents import document_of
from tests.serde.formats.messages import CancelledMessage


class Paid(BaseModel):
    order: str


def document() -> Any:
    registry = SchemaRegistry("http://me:s3cret@registry:8081")
    handler, sender = Handler(), Sender(value_format=Avro(registry, subject="topic-record"))

    @handler.event("Paid")
    async def on_paid(paid: Paid) -> None: ...

    @handler.event("Raw")
    async def on_raw(value: bytes) -> None: ...

    @handler.event("Cancelled")
    async def on_cancelled(cancelled: CancelledMessage) -> None: ...  # type: ignore[valid-type]

    @sender.event("Billed", topic="bills")
    async def send_bill(bill: Paid) -> None: ...

    @sender.event("Loose", topic="loose", value_format=Avro(registry))
    async def send_loose(event: dict[str, Any]) -> None: ...

    app = EVKafkaApp()
    app.add_consumer({"topics": ["paid"], "group_id": "g", "value_format": Protobuf(registry)}, handler)
    app.add_producer({}, sender)
    document = document_of(app)
    assert "s3cret" not in str(document)
    return document["components"]["messages"]


class TestAMessage:
    def test_that_is_received_names_its_format(self) -> None:
        paid, cancelled = (document()[name] for name in ("Paid", "Cancelled"))
        assert (paid["contentType"], paid["x-value-format"]) == ("application/protobuf", "Protobuf")
        assert paid["bindings"]["kafka"] == {
            "schemaIdLocation": "payload",
            "schemaIdPayloadEncoding": "confluent",
            "schemaLookupStrategy": "TopicNameStrategy",
            "bindingVersion": "0.5.0",
        }
        assert cancelled["x-value-format"] == "Protobuf"

    def test_of_plain_bytes_has_no_format(self) -> None:
        assert "x-value-format" not in document()["Raw"]

    def test_that_is_sent_has_its_schema_and_subject(self) -> None:
        billed = document()["Billed"]
        assert billed["contentType"] == "application/avro"
        assert billed["x-schema"]["subject"] == "bills-Paid"
        assert billed["x-schema"]["schema"]["fields"] == [{"name": "order", "type": "string"}]
        assert billed["payload"]

    def test_that_is_written_by_the_latest_schema_says_so(self) -> None:
        assert document()["Loose"]["x-schema"] == {"subject": "loose-value", "version": "latest"}
