"""Formats of values whose schemas are in a schema registry: `value_format` of a consumer, a topic, or a sender.

registry = SchemaRegistry("http://localhost:8081")
app.add_consumer({"topics": ["orders"], "group_id": "billing", "value_format": Avro(registry)}, handler)
"""

from evkafka.serde.formats.avro import Avro
from evkafka.serde.formats.avro_schema import AvroType
from evkafka.serde.formats.interface import ValueFormat
from evkafka.serde.formats.json_schema import JsonSchema
from evkafka.serde.formats.protobuf import Protobuf
from evkafka.serde.formats.registry import SchemaRegistry

__all__ = ["Avro", "AvroType", "JsonSchema", "Protobuf", "SchemaRegistry", "ValueFormat"]
