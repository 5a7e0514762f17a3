"""Builds the AsyncAPI document. The same app always gives the same document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evkafka.asyncapi.dead_letters import dead_letter_operations
from evkafka.asyncapi.messages import BINDING
from evkafka.asyncapi.model import AppContract, Info
from evkafka.asyncapi.operations import ContractTopic, Operation, receive_operations, send_operations
from evkafka.asyncapi.references import as_key, free_key, ref, without_none
from evkafka.asyncapi.retry_topics import retry_topic_operations
from evkafka.asyncapi.servers import Servers
from evkafka.serde.json_schema import Wanted, schemas_of

VERSION = "3.0.0"

Document = dict[str, Any]


def build_document(app: AppContract) -> Document:
    """Build the AsyncAPI 3.0.0 document of an app.

    Raises:
        ConfigError: an annotation cannot be resolved, or a policy cannot work.
    """
    operations = [
        *(operation for consumer in app.consumers for operation in receive_operations(consumer)),
        *(operation for producer in app.producers for operation in send_operations(producer)),
        *(operation for consumer in app.consumers for operation in retry_topic_operations(consumer)),
        *(operation for consumer in app.consumers for operation in dead_letter_operations(consumer)),
    ]
    servers = Servers(operation.connection for operation in operations)
    payloads, schemas = schemas_of(
        [
            Wanted(number, operation.message.payload, operation.message.direction)
            for number, operation in enumerate(operations)
            if operation.message is not None
        ]
    )
    builder = _DocumentBuilder(servers, schemas)
    for number, operation in enumerate(operations):
        builder.add(operation, payloads.get(number, {}))
    return without_none(
        asyncapi=VERSION,
        info=_info(app.info),
        defaultContentType="application/json",
        servers=servers.document() or None,
        channels=builder.channels,
        operations=builder.operations,
        components=without_none(
            schemas=schemas or None,
            messages=builder.messages or None,
            securitySchemes=servers.security_schemes() or None,
        ),
    )


def _info(info: Info) -> dict[str, Any]:
    return without_none(
        title=info.title,
        version=info.version,
        description=info.description,
        termsOfService=info.terms_of_service,
        contact=_only(info.contact, "name", "url", "email"),
        license=_only(info.license, "name", "url"),
    )


def _only(given: Mapping[str, str] | None, *known: str) -> dict[str, str] | None:
    """The fields that AsyncAPI defines. OpenAPI has others, as the `identifier` of a licence."""
    if given is None:
        return None
    return {name: given[name] for name in known if name in given} or None


class _DocumentBuilder:
    """Collects channels and messages, operation by operation."""

    def __init__(self, servers: Servers, schemas: Mapping[str, dict[str, Any]]) -> None:
        self._servers = servers
        self._schemas = schemas
        self._channel_keys: dict[tuple[str, str], str] = {}
        self._message_keys: dict[str, list[str]] = {}  # event type -> keys of its messages
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}

    def add(self, operation: Operation, payload: dict[str, Any]) -> None:
        channel = self._channel(operation)
        messages = []
        if operation.message is not None:
            key = self._message(operation, payload)
            self.channels[channel]["messages"].setdefault(key, ref("components", "messages", key))
            messages = [ref("channels", channel, "messages", key)]
        name = operation.message.name if operation.message is not None else None
        parts = (operation.action, operation.owner, operation.topic.name or "topics", name or "any")
        document = without_none(
            action=operation.action,
            channel=ref("channels", channel),
            title=operation.title,
            summary=operation.summary,
            bindings=dict(operation.bindings) or None,
        )
        self.operations[free_key(".".join(parts), self.operations)] = {
            **document,
            "messages": messages,
            **operation.extensions,
        }

    def _channel(self, operation: Operation) -> str:
        """The key of the operation's channel. Each topic of each cluster has one."""
        topic, server = operation.topic, self._servers.key(operation.connection)
        identity = server, topic.name or f"{operation.owner} {topic.pattern}"
        key = self._channel_keys.get(identity)
        if key is None:
            name = as_key(topic.name or f"{operation.owner}.topics")
            key = free_key(name if name not in self.channels else f"{name}.{server}", self.channels)
            self._channel_keys[identity] = key
            self.channels[key] = _channel(topic, server)
        elif topic.description is not None:
            self.channels[key].setdefault("description", topic.description)
        return key

    def _message(self, operation: Operation, payload: dict[str, Any]) -> str:
        """The key of the operation's message. Operations of one event type share it if their messages do not differ."""
        message = operation.message
        assert message is not None
        document = message.document(payload, self._schemas)
        first = as_key(message.title if message.name is None or "," in message.title else message.name)
        candidates = self._message_keys.setdefault(first, [])
        for key in candidates:
            if (merged := _merge(self.messages[key], document)) is not None:
                self.messages[key] = merged
                return key
        key = free_key(first if not candidates else f"{first}.{operation.owner}", self.messages)
        candidates.append(key)
        self.messages[key] = document
        return key


def _channel(topic: ContractTopic, server: str) -> dict[str, Any]:
    fixed = topic.name is not None and not topic.parameters
    return {
        "address": topic.name,
        **without_none(
            description=topic.description,
            parameters={name: {"description": text} for name, text in topic.parameters} or None,
        ),
        "servers": [ref("servers", server)],
        "messages": {},
        "bindings": {"kafka": without_none(topic=topic.name if fixed else None, bindingVersion=BINDING)},
        **without_none(**{"x-topic-pattern": topic.pattern}),
    }


def _merge(known: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """Both messages as one; None if they contradict each other. A field that one lacks is taken from the other."""
    shared = {name for name in known if name in other}
    if any(known[name] != other[name] for name in shared):
        return None
    for required in ("payload", "headers", "x-tombstone"):
        if (required in known) != (required in other):
            return None
    return {name: known.get(name, other.get(name)) for name in {**known, **other}}
