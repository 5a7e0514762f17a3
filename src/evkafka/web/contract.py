"""The contract page: the AsyncAPI document as a person reads it, with links instead of references, without scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evkafka.web import schemas
from evkafka.web.markdown import link, markdown
from evkafka.web.search import Found, Index

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
    found: Found

    @property
    def channels(self) -> dict[str, Any]:
        return self.found.channels

    @property
    def messages(self) -> dict[str, Any]:
        return self.found.messages

    @property
    def schemas(self) -> dict[str, Any]:
        return self.found.schemas

    @property
    def count(self) -> int:
        """How many were found."""
        return self.found.count

    @property
    def is_cut(self) -> bool:
        """Whether not all of those are shown."""
        return self.count > len(self.channels) + len(self.messages) + len(self.schemas)

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


def words_of(query: str) -> str:
    """What is searched for, as it is shown: of a sensible length, with single spaces."""
    return " ".join(query.split())[:LONGEST_QUERY]


def render(document: Document, query: str = "", *, found: Found | None = None, with_operations: bool = False) -> str:
    """The page, as HTML.

    Args:
        query: only what has all of its words, somewhere; empty for everything.
        found: what the query has found, if it was looked for already.
        with_operations: link to the operations page, which is served beside it.
    """
    query = words_of(query)
    template = _environment().get_template("contract.html")
    page = Shown(document, query, found if found is not None else Index(document).having(query))
    return template.render(page=page, info=document["info"], with_operations=with_operations)


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
