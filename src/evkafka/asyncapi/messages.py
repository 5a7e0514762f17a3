"""Messages: an event type with its payload's schema, its headers, its key, and an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evkafka.asyncapi.examples import NOTHING, sample_of
from evkafka.asyncapi.references import without_none
from evkafka.serde.json_schema import Direction, admits, media_type

BINDING = "0.5.0"

Schemas = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of record on one channel.

    Attributes:
        name: the event type; None where it may be any.
        payload: the annotation; `Any` where nothing is known of it.
        headers: a schema.
        key: a schema; None where nothing is known of the key.
        tombstone: True where a null value is an event too.
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

    def document(self, payload: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
        """The message object.

        Args:
            payload: the payload's schema.
            schemas: those that it refers to, by name.
        """
        return without_none(
            name=self.name,
            title=self.title,
            summary=self.summary,
            description=self.description,
            tags=tags_of(self.tags),
            contentType=media_type(self.payload),
            headers=dict(self.headers),
            payload=payload,
            bindings={"kafka": {"key": dict(self.key), "bindingVersion": BINDING}} if self.key else None,
            examples=self._examples(payload, schemas),
        ) | ({"x-tombstone": True} if self.tombstone else {})

    def _examples(self, payload: dict[str, Any], schemas: Schemas) -> list[dict[str, Any]]:
        """The examples that the type itself brings; else one made from the schema, where the type takes it."""
        if media_type(self.payload) != "application/json":
            return []
        schema = payload
        while "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        if own := schema.get("examples"):
            return [{"payload": example} for example in own]
        sample = sample_of(payload, schemas)
        if sample is NOTHING or sample == {} or not admits(self.payload, sample):
            return []
        return [{"summary": "Made from the schema", "payload": sample}]


def tags_of(tags: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"name": tag} for tag in dict.fromkeys(tags)]


def typed_headers(header: str, event_type: str | None, *, required: bool = True) -> dict[str, Any]:
    """The schema of a record's headers, of which one says the event type.

    Args:
        event_type: None where any is taken.
        required: False where the topic's records may come without it.
    """
    value: dict[str, Any] = {"type": "string", "description": "The event type, as UTF-8"}
    if event_type is not None:
        value["const"] = event_type
    schema: dict[str, Any] = {"type": "object", "properties": {header: value}}
    if required and event_type is not None:
        schema["required"] = [header]
    return schema
