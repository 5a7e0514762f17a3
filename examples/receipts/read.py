"""A reader of the receipts, with confluent-kafka's deserializer. Ctrl+C ends it."""

from __future__ import annotations

import contextlib
import os

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def main() -> None:
    registry = SchemaRegistryClient({"url": os.environ.get("EVKAFKA_SCHEMA_REGISTRY_URL", "http://localhost:8081")})
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092"),
            "group.id": "readers",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["receipts"])
    deserialize = AvroDeserializer(registry)
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            receipt = deserialize(message.value(), SerializationContext("receipts", MessageField.VALUE))
            print(f"receipt: {receipt['total']} euros, of that {receipt['vat']} VAT", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
