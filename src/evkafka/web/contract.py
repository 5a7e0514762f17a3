"""The API documentation: the AsyncAPI document as HTML, with links in the place of references.

The page is complete without scripts; they add the theme and the navigation of the dashboard.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evkafka.web import schema_text
from evkafka.web.markdown import render_markdown, url_or_hash_if_unsafe
from evkafka.web.search import SearchIndex, SearchResult, name_of_reference

QUERY_CHARACTERS = 100
SCHEMAS = "#/components/schemas/"

Document = Mapping[str, Any]


@dataclass(slots=True)
class MessageUse:
    """An operation that receives or sends a message, with its channel."""

    action: str
    channel: str
    address: str
    operation: Mapping[str, Any]


class References:
    """The references of a document in the opposite direction, collected in one pass.

    Attributes:
        operations: channel -> its operations, as (key, operation).
        uses: message -> the operations that receive or send it.
        users: schema -> the messages and schemas that refer to it, as (kind, key).
    """

    def __init__(self, document: Document) -> None:
        self.operations: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
        self.uses: defaultdict[str, list[MessageUse]] = defaultdict(list)
        self.users: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)
        for key, operation in document["operations"].items():
            channel = name_of_reference(operation["channel"])
            self.operations[channel].append((key, operation))
            use = MessageUse(operation["action"], channel, _channel_address(document, channel), operation)
            for message in dict.fromkeys(name_of_reference(reference) for reference in operation["messages"]):
                self.uses[message].append(use)
        components = document.get("components", {})
        for kind, part in (("message", "messages"), ("schema", "schemas")):
            for key, component in components.get(part, {}).items():
                for schema in _names_of_referenced_schemas(component):
                    if (kind, key) != ("schema", schema):
                        self.users[schema][kind, key] = None


def _channel_address(document: Document, channel: str) -> str:
    return _address_or_pattern_of_channel(channel, document["channels"][channel])


def _address_or_pattern_of_channel(key: str, channel: Mapping[str, Any]) -> str:
    return str(channel["address"] or channel.get("x-topic-pattern") or key)


def _is_dead_letter_or_retry_operation(operation: Mapping[str, Any]) -> bool:
    """Whether an operation writes failed records to another topic, or reads them there."""
    return "x-dead-letters-of" in operation or "x-retries-of" in operation


def _names_of_referenced_schemas(part: Any) -> Iterator[str]:
    """The names of the schemas that this part of the document refers to."""
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


@dataclass
class ContractPage:
    """The content of the page: the parts of the document that match the query."""

    document: Document
    references: References
    query: str
    found: SearchResult

    @cached_property
    def channels(self) -> dict[str, Any]:
        return {
            key: channel
            for key, channel in self.found.channels.items()
            if not self._is_dead_letter_or_retry_channel(key)
        }

    @cached_property
    def dead_letter_and_retry_channels(self) -> dict[str, Any]:
        """The dead-letter topics and retry topics."""
        return {
            key: channel for key, channel in self.found.channels.items() if self._is_dead_letter_or_retry_channel(key)
        }

    @cached_property
    def messages(self) -> dict[str, Any]:
        return {
            key: message
            for key, message in self.found.messages.items()
            if not self._is_dead_letter_or_retry_message(key)
        }

    @cached_property
    def dead_letter_and_retry_messages(self) -> dict[str, Any]:
        """The copies of events that are written to dead-letter topics and retry topics."""
        return {
            key: message for key, message in self.found.messages.items() if self._is_dead_letter_or_retry_message(key)
        }

    def _is_dead_letter_or_retry_channel(self, channel: str) -> bool:
        operations = [operation for _, operation in self.operations_of_channel(channel)]
        return bool(operations) and all(map(_is_dead_letter_or_retry_operation, operations))

    def _is_dead_letter_or_retry_message(self, message: str) -> bool:
        uses = self.message_uses(message)
        return bool(uses) and all(_is_dead_letter_or_retry_operation(use.operation) for use in uses)

    @property
    def schemas(self) -> dict[str, Any]:
        return self.found.schemas

    @property
    def match_count(self) -> int:
        """How many parts match the query."""
        return self.found.count

    @property
    def is_cut(self) -> bool:
        """Whether some of them are not shown."""
        return self.match_count > len(self.found.channels) + len(self.found.messages) + len(self.schemas)

    def channel_keys_and_names(self, channels: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The keys of these channels with their names, for the table of contents."""
        return [(key, _address_or_pattern_of_channel(key, channel)) for key, channel in channels.items()]

    def message_keys_and_titles(self, messages: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The keys of these messages with their titles."""
        return [(key, message["title"]) for key, message in messages.items()]

    def schema_keys_and_names(self) -> list[tuple[str, str]]:
        """The keys of the schemas, which are their names too."""
        return [(key, key) for key in self.schemas]

    def operations_of_channel(self, channel: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The operations of a channel, by key."""
        return self.references.operations.get(channel, [])

    def operation_facts(self, operation: Mapping[str, Any]) -> list[tuple[str, str]]:
        """More facts about an operation, as (label, name)."""
        group = operation.get("bindings", {}).get("kafka", {}).get("groupId", {}).get("enum", ("",))[0]
        facts = [
            ("consumer", operation.get("x-consumer", "")),
            ("producer", operation.get("x-producer", "")),
            ("group", group),
            ("dead letters of", operation.get("x-dead-letters-of", "")),
            ("retries of", operation.get("x-retries-of", "")),
        ]
        found = [(label, name) for label, name in facts if name]
        if "x-delivery" in operation:
            found.append((operation["x-delivery"], ""))
        if "x-batch" in operation:
            found.append((f"in batches of up to {operation['x-batch']['maxRecords']}", ""))
        return found

    def message_uses(self, message: str) -> list[MessageUse]:
        """The operations that receive or send a message."""
        return self.references.uses.get(message, [])

    def schema_users(self, schema: str) -> list[tuple[str, str]]:
        """The messages and schemas that refer to a schema: (kind, key)."""
        return list(self.references.users.get(schema, ()))


def trim_and_shorten_query(query: str) -> str:
    """The query with single spaces, cut to `QUERY_CHARACTERS`."""
    return " ".join(query.split())[:QUERY_CHARACTERS]


def render_contract_page(
    document: Document, query: str = "", *, found: SearchResult | None = None, with_operations: bool = False
) -> str:
    """Render the page as HTML.

    Args:
        query: show only parts that contain all of its words; empty for everything.
        found: the result of the query, if it is known already.
        with_operations: link to the dashboard.
    """
    query = trim_and_shorten_query(query)
    template = _template_environment().get_template("contract.html")
    if found is None:
        found = SearchIndex(document).find_parts_with_all_words(query)
    page = ContractPage(document, References(document), query, found)
    return template.render(page=page, info=document["info"], with_operations=with_operations)


def pretty_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


@cache
def _template_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evkafka.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "link": url_or_hash_if_unsafe,
        "markdown": render_markdown,
        "name": name_of_reference,
        "pretty": pretty_json,
        "describe": schema_text.describe_schema,
        "fields": schema_text.fields_of,
    }
    return environment
