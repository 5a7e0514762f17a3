"""Builds the AsyncAPI document. The same app always gives the same document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evkafka.asyncapi.dead_letters import dead_letter_operations
from evkafka.asyncapi.messages import BINDING
from evkafka.asyncapi.model import AppContract, Info
from evkafka.asyncapi.operations import ContractTopic, Operation, receive_operations, send_operations
from evkafka.asyncapi.references import drop_empty_fields, reference_to, to_document_key, unused_key
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
        builder.add_operation(operation, payloads.get(number, {}))
    return drop_empty_fields(
        asyncapi=VERSION,
        info=_info_object(app.info),
        defaultContentType="application/json",
        servers=servers.server_objects() or None,
        channels=builder.channels,
        operations=builder.operations,
        components=drop_empty_fields(
            schemas=schemas or None,
            messages=builder.messages or None,
            securitySchemes=servers.security_schemes() or None,
        ),
    )


def _info_object(info: Info) -> dict[str, Any]:
    return drop_empty_fields(
        title=info.title,
        version=info.version,
        description=info.description,
        termsOfService=info.terms_of_service,
        contact=_keep_known_fields(info.contact, "name", "url", "email"),
        license=_keep_known_fields(info.license, "name", "url"),
    )


def _keep_known_fields(given: Mapping[str, str] | None, *known: str) -> dict[str, str] | None:
    """Keep the fields that AsyncAPI defines. OpenAPI has others, as the `identifier` of a licence."""
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

    def add_operation(self, operation: Operation, payload: dict[str, Any]) -> None:
        channel = self._add_channel(operation)
        messages = []
        if operation.message is not None:
            key = self._add_message_and_return_key(operation, payload)
            self.channels[channel]["messages"].setdefault(key, reference_to("components", "messages", key))
            messages = [reference_to("channels", channel, "messages", key)]
        name = operation.message.name if operation.message is not None else None
        parts = (operation.action, operation.owner, operation.topic.name or "topics", name or "any")
        document = drop_empty_fields(
            action=operation.action,
            channel=reference_to("channels", channel),
            title=operation.title,
            summary=operation.summary,
            bindings=dict(operation.bindings) or None,
        )
        self.operations[unused_key(".".join(parts), self.operations)] = {
            **document,
            "messages": messages,
            **operation.extensions,
        }

    def _add_channel(self, operation: Operation) -> str:
        """The key of the operation's channel. Each topic of each cluster has one."""
        topic, server = operation.topic, self._servers.cluster_key(operation.connection)
        identity = server, topic.name or f"{operation.owner} {topic.pattern}"
        key = self._channel_keys.get(identity)
        if key is None:
            name = to_document_key(topic.name or f"{operation.owner}.topics")
            key = unused_key(name if name not in self.channels else f"{name}.{server}", self.channels)
            self._channel_keys[identity] = key
            self.channels[key] = _channel_object(topic, server)
        elif topic.description is not None:
            self.channels[key].setdefault("description", topic.description)
        return key

    def _add_message_and_return_key(self, operation: Operation, payload: dict[str, Any]) -> str:
        """The key of the operation's message. Operations of one event type share it if their messages do not differ."""
        message = operation.message
        assert message is not None
        document = message.message_object(payload, self._schemas)
        first = to_document_key(message.title if message.name is None or "," in message.title else message.name)
        candidates = self._message_keys.setdefault(first, [])
        for key in candidates:
            if (merged := _merged_message_or_none(self.messages[key], document)) is not None:
                self.messages[key] = merged
                return key
        key = unused_key(first if not candidates else f"{first}.{operation.owner}", self.messages)
        candidates.append(key)
        self.messages[key] = document
        return key


def _channel_object(topic: ContractTopic, server: str) -> dict[str, Any]:
    fixed = topic.name is not None and not topic.parameters
    return {
        "address": topic.name,
        **drop_empty_fields(
            description=topic.description,
            parameters={name: {"description": text} for name, text in topic.parameters} or None,
        ),
        "servers": [reference_to("servers", server)],
        "messages": {},
        "bindings": {"kafka": drop_empty_fields(topic=topic.name if fixed else None, bindingVersion=BINDING)},
        **drop_empty_fields(**{"x-topic-pattern": topic.pattern}),
    }


def _merged_message_or_none(known: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """Both messages as one; None if they contradict each other. A field that one lacks is taken from the other."""
    shared = {name for name in known if name in other}
    if any(known[name] != other[name] for name in shared):
        return None
    for required in ("payload", "headers", "x-tombstone"):
        if (required in known) != (required in other):
            return None
    return {name: known.get(name, other.get(name)) for name in {**known, **other}}
