"""The contract page: the AsyncAPI document as a person reads it, with links instead of references, without scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evkafka.web import schemas
from evkafka.web.markdown import link, markdown

LONGEST_QUERY = 100

Document = Mapping[str, Any]


@dataclass(slots=True)
class Place:
    """Where a message is used: the operation, and its channel."""

    action: str
    channel: str
    address: str
    operation: Mapping[str, Any]


@dataclass(slots=True)
class Shown:
    """What the page shows, filtered by what was searched for."""

    document: Document
    query: str
    channels: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    schemas: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.channels) + len(self.messages) + len(self.schemas)

    def operations(self, channel: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The operations of a channel, by key."""
        return [
            (key, operation)
            for key, operation in self.document["operations"].items()
            if name_of(operation["channel"]) == channel
        ]

    def about(self, operation: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What else there is to say of an operation: (words, a name)."""
        group = operation.get("bindings", {}).get("kafka", {}).get("groupId", {}).get("enum", ("",))[0]
        said = [
            ("consumer", operation.get("x-consumer", "")),
            ("producer", operation.get("x-producer", "")),
            ("group", group),
            ("dead letters of", operation.get("x-dead-letters-of", "")),
            ("retries of", operation.get("x-retries-of", "")),
        ]
        found = [(words, name) for words, name in said if name]
        if "x-delivery" in operation:
            found.append((operation["x-delivery"], ""))
        if "x-batch" in operation:
            found.append((f"in batches of up to {operation['x-batch']['maxRecords']}", ""))
        return found

    def places(self, message: str) -> list[Place]:
        """Where a message is received or sent."""
        return [
            Place(operation["action"], name_of(operation["channel"]), self.address(operation["channel"]), operation)
            for operation in self.document["operations"].values()
            if any(name_of(reference) == message for reference in operation["messages"])
        ]

    def address(self, channel: Mapping[str, str]) -> str:
        key = name_of(channel)
        found = self.document["channels"][key]
        return str(found["address"] or found.get("x-topic-pattern") or key)

    def users(self, schema: str) -> list[tuple[str, str]]:
        """The messages and schemas that refer to a schema: (kind, key)."""
        mine = f'"#/components/schemas/{schema}"'
        components = self.document.get("components", {})
        return [
            (kind, key)
            for kind, part in (("message", "messages"), ("schema", "schemas"))
            for key, one in components.get(part, {}).items()
            if mine in json.dumps(one) and (kind, key) != ("schema", schema)
        ]


def render(document: Document, query: str = "", *, with_operations: bool = False) -> str:
    """The page, as HTML.

    Args:
        query: only what has all of its words, somewhere; empty for everything.
        with_operations: link to the operations page, which is served beside it.
    """
    query = " ".join(query.split())[:LONGEST_QUERY]
    template = _environment().get_template("contract.html")
    return template.render(page=_shown(document, query), info=document["info"], with_operations=with_operations)


def _shown(document: Document, query: str) -> Shown:
    shown, wanted = Shown(document, query), query.lower().split()
    components = document.get("components", {})
    shown.messages = _having(wanted, components.get("messages", {}))
    shown.schemas = _having(wanted, components.get("schemas", {}))
    for key, channel in document["channels"].items():
        told = json.dumps([key, channel, shown.operations(key)], ensure_ascii=False).lower()
        if all(word in told for word in wanted):
            shown.channels[key] = channel
    return shown


def _having(wanted: list[str], parts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: part
        for key, part in parts.items()
        if all(word in json.dumps([key, part], ensure_ascii=False).lower() for word in wanted)
    }


def name_of(reference: Mapping[str, str]) -> str:
    """What a reference points to: the last part of it."""
    return reference["$ref"].rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def pretty(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evkafka.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "link": link,
        "markdown": markdown,
        "name": name_of,
        "pretty": pretty,
        "words": schemas.words,
        "fields": schemas.fields,
    }
    return environment
