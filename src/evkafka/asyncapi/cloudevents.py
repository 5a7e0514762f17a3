"""CloudEvents in the document: their headers, and the value of the structured mode."""

from __future__ import annotations

from typing import Any

from evkafka.serde.cloudevents.event import CONTENT_TYPE, HEADER_PREFIX, REQUIRED, SPECVERSION, STRUCTURED_JSON
from evkafka.serde.cloudevents.writing import Mode

DESCRIPTIONS = {
    "id": "Identifies the event, together with its source",
    "source": "Where the event happened, a URI reference",
    "specversion": "The version of CloudEvents",
    "type": "The event type",
    "subject": "What the event is about",
    "time": "When the event happened (RFC 3339)",
    "datacontenttype": "The media type of the data",
    "dataschema": "A URI of the data's schema",
    "partitionkey": "The record's key",
}


def cloudevents_headers_schema(
    event_type: str | None, source: str | None = None, mode: Mode = "binary"
) -> dict[str, Any]:
    """The schema of the headers of CloudEvents.

    Args:
        event_type: None for any.
        source: None for any.
    """
    if mode == "structured":
        content = {"type": "string", "const": STRUCTURED_JSON}
        return {"type": "object", "properties": {CONTENT_TYPE: content}, "required": [CONTENT_TYPE]}
    attributes = _attribute_schemas(event_type, source)
    content_type = attributes.pop("datacontenttype")
    return {
        "type": "object",
        "properties": {
            **{HEADER_PREFIX + name: schema for name, schema in attributes.items()},
            CONTENT_TYPE: content_type,
        },
        "required": [HEADER_PREFIX + name for name in REQUIRED],
    }


def structured_payload_schema(data: dict[str, Any], event_type: str | None, source: str | None) -> dict[str, Any]:
    """The schema of a value in structured mode.

    Args:
        data: the schema of the data.
    """
    return {
        "type": "object",
        "properties": {**_attribute_schemas(event_type, source), "data": data},
        "required": list(REQUIRED),
    }


def structured_example(data: Any, event_type: str | None, source: str | None) -> dict[str, Any]:
    return {
        "specversion": SPECVERSION,
        "id": "0d2f1b1e-7d3e-4b4e-9a59-5b2f3f7d5a10",
        "source": source or "/source",
        "type": event_type or "EventType",
        "data": data,
    }


def _attribute_schemas(event_type: str | None, source: str | None) -> dict[str, Any]:
    schemas: dict[str, Any] = {name: {"type": "string", "description": text} for name, text in DESCRIPTIONS.items()}
    schemas["specversion"]["const"] = SPECVERSION
    if event_type is not None:
        schemas["type"]["const"] = event_type
    if source is not None:
        schemas["source"]["const"] = source
    return schemas
