"""Messages: an event type with the schemas of its payload, headers and key, and with an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evkafka.asyncapi.cloudevents import structured_example, structured_payload_schema
from evkafka.asyncapi.examples import NO_EXAMPLE, example_of
from evkafka.asyncapi.references import drop_empty_fields
from evkafka.asyncapi.value_formats import schema_binding, schema_extensions
from evkafka.serde.cloudevents.event import STRUCTURED_JSON
from evkafka.serde.cloudevents.writing import CloudEventsEnvelope
from evkafka.serde.formats.interface import Outgoing, ValueFormat
from evkafka.serde.json_schema import Direction, is_json_value_valid_for_type, media_type_of_payload_type

BINDING = "0.5.0"

Schemas = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of record on one channel.

    Attributes:
        name: the event type; None for any.
        payload: the annotation; `Any` if nothing is known about it.
        headers: a schema.
        key: a schema; None if nothing is known about the key.
        tombstone: True if a null value is an event too.
        value_format: of the value; None for JSON, for bytes, and for text without a schema.
        sent: the event as its format describes it; None if it is received.
        structured: set if the value is a CloudEvent in structured mode, with the payload as its data.
    """

    title: str
    name: str | None
    payload: Any
    direction: Direction
    headers: Mapping[str, Any]
    summary: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    key: Mapping[str, Any] | None = None
    tombstone: bool = False
    structured: CloudEventsEnvelope | None = None
    value_format: ValueFormat | None = None
    sent: Outgoing | None = None

    def message_object(self, payload: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
        """The message object of the document.

        Args:
            payload: the payload's schema.
            schemas: the schemas that it refers to, by name.
        """
        examples, content_type = self._examples(payload, schemas), self._media_type()
        if self.structured is not None:
            source = self.structured.source
            payload, content_type = structured_payload_schema(payload, self.name, source), STRUCTURED_JSON
            examples = [
                {**example, "payload": structured_example(example["payload"], self.name, source)}
                for example in examples
            ]
        return drop_empty_fields(
            name=self.name,
            title=self.title,
            summary=self.summary,
            description=self.description,
            tags=[{"name": tag} for tag in dict.fromkeys(self.tags)],
            contentType=content_type,
            headers=dict(self.headers),
            payload=payload,
            bindings=self._bindings(),
            examples=examples,
            **schema_extensions(self.value_format, self.sent),
        ) | ({"x-tombstone": True} if self.tombstone else {})

    def _media_type(self) -> str:
        return (
            self.value_format.media_type if self.value_format is not None else media_type_of_payload_type(self.payload)
        )

    def _bindings(self) -> dict[str, Any] | None:
        kafka = {**({"key": dict(self.key)} if self.key else {}), **schema_binding(self.value_format)}
        return {"kafka": {**kafka, "bindingVersion": BINDING}} if kafka else None

    def headers_schema_with(self, descriptions: Mapping[str, str]) -> dict[str, Any]:
        """The schema of the headers, with more string headers."""
        more = {name: {"type": "string", "description": text} for name, text in descriptions.items()}
        return {**self.headers, "properties": {**self.headers["properties"], **more}}

    def _examples(self, payload: dict[str, Any], schemas: Schemas) -> list[dict[str, Any]]:
        """The examples of the type itself; otherwise one generated from the schema, if the type accepts it."""
        if media_type_of_payload_type(self.payload) != "application/json":
            return []
        schema = payload
        while "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        if own := schema.get("examples"):
            return [{"payload": example} for example in own]
        example = example_of(payload, schemas)
        if example is NO_EXAMPLE or example == {} or not is_json_value_valid_for_type(self.payload, example):
            return []
        return [{"summary": "Generated from the schema", "payload": example}]


def event_type_headers_schema(header: str, event_type: str | None, *, required: bool = True) -> dict[str, Any]:
    """The schema of headers that have the event type.

    Args:
        event_type: None for any.
        required: False if the topic's records may come without the header.
    """
    value: dict[str, Any] = {"type": "string", "description": "The event type, as UTF-8"}
    if event_type is not None:
        value["const"] = event_type
    schema: dict[str, Any] = {"type": "object", "properties": {header: value}}
    if required and event_type is not None:
        schema["required"] = [header]
    return schema
