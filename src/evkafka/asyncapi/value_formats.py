"""How a message whose value has a schema in a registry is described."""

from __future__ import annotations

from typing import Any

from evkafka.exceptions import ConfigError
from evkafka.serde.formats.interface import Outgoing, ValueFormat
from evkafka.serde.formats.registry_format import RegistryFormat, SubjectNames

STRATEGIES: dict[SubjectNames, str] = {
    "topic": "TopicNameStrategy",
    "record": "RecordNameStrategy",
    "topic-record": "TopicRecordNameStrategy",
}
"""The names that Confluent's serializers have for them."""


def schema_binding(value_format: ValueFormat | None) -> dict[str, Any]:
    """The part of a message's Kafka binding that says where its schema's id is."""
    if not isinstance(value_format, RegistryFormat):
        return {}
    return {
        "schemaIdLocation": "payload",
        "schemaIdPayloadEncoding": "confluent",
        "schemaLookupStrategy": STRATEGIES[value_format.subjects.names],
    }


def schema_extensions(value_format: ValueFormat | None, sent: Outgoing | None) -> dict[str, Any]:
    """The format's name, and the schema of an event that is sent, as it is in the registry."""
    if value_format is None:
        return {}
    named = {"x-value-format": value_format.name}
    if sent is None or not isinstance(value_format, RegistryFormat):
        return named
    try:
        planned = value_format.plan_schema(sent)
    except ConfigError:  # the app does not start with it: the error is for that
        return named
    schema = planned.schema
    if schema is None:
        return {**named, "x-schema": {"subject": planned.subject, "version": "latest"}}
    return {
        **named,
        "x-schema": {"subject": planned.subject, "type": schema.type, "schema": schema.parsed_json_or_text},
    }
