"""The contract page: the AsyncAPI document as a person reads it, with links instead of references, without scripts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evkafka.web import schema_text as schemas
from evkafka.web.markdown import link, markdown
from evkafka.web.search import Found, Index

LONGEST_QUERY = 100
SCHEMAS = "#/components/schemas/"

Document = Mapping[str, Any]


@dataclass(slots=True)
class Place:
    """Where a message is used: the operation, and its channel."""

    action: str
    channel: str
    address: str
    operation: Mapping[str, Any]


class Uses:
    """What uses what in a document, found in one pass over it.

    Attributes:
        operations: channel -> its operations, by key.
        places: message -> where it is received or sent.
        users: schema -> the messages and schemas that refer to it, as (kind, key).
    """

    def __init__(self, document: Document) -> None:
        self.operations: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
        self.places: defaultdict[str, list[Place]] = defaultdict(list)
        self.users: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)
        for key, operation in document["operations"].items():
            channel = name_of(operation["channel"])
            self.operations[channel].append((key, operation))
            place = Place(operation["action"], channel, _address(document, channel), operation)
            for message in dict.fromkeys(name_of(reference) for reference in operation["messages"]):
                self.places[message].append(place)
        components = document.get("components", {})
        for kind, part in (("message", "messages"), ("schema", "schemas")):
            for key, one in components.get(part, {}).items():
                for schema in _schemas_in(one):
                    if (kind, key) != ("schema", schema):
                        self.users[schema][kind, key] = None


def _address(document: Document, channel: str) -> str:
    found = document["channels"][channel]
    return str(found["address"] or found.get("x-topic-pattern") or channel)


def _schemas_in(part: Any) -> Iterator[str]:
    """The names of the schemas that it refers to."""
    rest = [part]
    while rest:
        match rest.pop():
            case dict() as found:
                reference = found.get("$ref")
                if isinstance(reference, str) and reference.startswith(SCHEMAS):
                    yield reference.removeprefix(SCHEMAS)
                rest += found.values()
            case list() as found:
                rest += found


@dataclass(slots=True)
class Shown:
    """What the page shows, filtered by what was searched for."""

    document: Document
    uses: Uses
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
        return self.uses.operations.get(channel, [])

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
        return self.uses.places.get(message, [])

    def users(self, schema: str) -> list[tuple[str, str]]:
        """The messages and schemas that refer to a schema: (kind, key)."""
        return list(self.uses.users.get(schema, ()))


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
    page = Shown(document, Uses(document), query, found if found is not None else Index(document).having(query))
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
