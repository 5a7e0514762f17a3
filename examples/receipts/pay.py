"""Another team's program: it writes payments with confluent-kafka, without a type header."""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
from decimal import Decimal

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

PAID = {
    "type": "record",
    "name": "Paid",
    "namespace": "shop",
    "fields": [
        {"name": "order", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "terminal", "type": "string", "doc": "The service does not know this field."},
    ],
}


def main() -> None:
    registry = SchemaRegistryClient({"url": os.environ.get("EVKAFKA_SCHEMA_REGISTRY_URL", "http://localhost:8081")})
    producer = Producer({"bootstrap.servers": os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092")})
    serialize = AvroSerializer(registry, json.dumps(PAID))
    for euros in ("119.00", "11.90", "1.19"):
        paid = {
            "order": uuid.uuid4(),
            "total": Decimal(euros),
            "at": dt.datetime.now(dt.UTC),
            "terminal": "t-7",
        }
        producer.produce("paid", serialize(paid, SerializationContext("paid", MessageField.VALUE)))
    producer.flush()
    print("3 payments written")


if __name__ == "__main__":
    main()
