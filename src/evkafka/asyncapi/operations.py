"""The operations of an app: one for each event type that it receives from a topic, or sends to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evkafka.asyncapi.cloudevents import cloudevents_headers_schema
from evkafka.asyncapi.messages import BINDING, Message, event_type_headers_schema
from evkafka.asyncapi.model import ConsumerContract, ProducerContract
from evkafka.config.settings import AutoCommitMode, ConnectionSettings
from evkafka.endpoints.endpoint import Endpoint
from evkafka.producer import TYPE_HEADER
from evkafka.sender import OutboundEndpoint
from evkafka.serde.annotations import bytes_or_str_type, json_field_name
from evkafka.serde.cloudevents.writing import CloudEventsEnvelope
from evkafka.serde.formats.interface import ValueFormat


@dataclass(frozen=True, slots=True)
class ContractTopic:
    """A topic, or several.

    Attributes:
        name: with a parameter in braces for each part that depends on the record; None if there is a pattern.
        parameters: the name and the description of each parameter.
    """

    name: str | None
    description: str | None = None
    pattern: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One event type that is received or sent.

    Attributes:
        owner: the name of the consumer or producer.
        message: None if an app callable takes all records.
    """

    action: Literal["receive", "send"]
    owner: str
    connection: ConnectionSettings
    topic: ContractTopic
    message: Message | None
    title: str
    summary: str | None = None
    bindings: Mapping[str, Any] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------------------- receiving

DELIVERY: Mapping[AutoCommitMode, str] = {
    "post-commit": "at least once",
    "pre-commit": "at most once",
    "exactly-once": "exactly once",
}


def receive_operations(consumer: ConsumerContract) -> Iterator[Operation]:
    for topic in topics_of_consumer(consumer):
        where = topic.name or f"topics that match {topic.pattern}"
        if consumer.endpoints is None:
            yield Operation(
                action="receive",
                owner=consumer.name,
                connection=consumer.settings.connection,
                topic=topic,
                message=None,
                title=f"All records from {where}",
                summary="A plain callable handles every record; its payloads are not declared.",
                bindings=kafka_binding(consumer.settings.connection, consumer.settings.group_id),
                extensions=consumer_extensions(consumer),
            )
            continue
        for endpoint in consumer.endpoints:
            message = received_message(consumer, topic, endpoint)
            yield Operation(
                action="receive",
                owner=consumer.name,
                connection=consumer.settings.connection,
                topic=topic,
                message=message,
                title=f"{message.title} from {where}",
                bindings=kafka_binding(consumer.settings.connection, consumer.settings.group_id),
                extensions={**consumer_extensions(consumer), **_endpoint_extensions(endpoint)},
            )


def topics_of_consumer(consumer: ConsumerContract) -> list[ContractTopic]:
    settings = consumer.settings
    if settings.topic_pattern is not None:
        pattern = settings.topic_pattern.pattern
        return [ContractTopic(None, f"Every topic whose name matches `{pattern}`.", pattern)]
    return [ContractTopic(topic.name, topic.description) for topic in settings.topics]


def received_message(consumer: ConsumerContract, topic: ContractTopic, endpoint: Endpoint) -> Message:
    decoder = endpoint.resolve_decoder()
    types = {configured.name: configured.event_type for configured in consumer.settings.topics}
    event_type = None if endpoint.is_default else endpoint.event_type
    return Message(
        title=event_type or "Any other event",
        name=event_type,
        payload=endpoint.payload_type,
        direction="in",
        headers=cloudevents_headers_schema(event_type)
        if consumer.settings.envelope is not None
        else event_type_headers_schema(
            consumer.type_header, event_type, required=topic.name is None or types.get(topic.name) != event_type
        ),
        summary=endpoint.summary,
        description=endpoint.description,
        tags=endpoint.tags,
        tombstone=decoder.admits_none,
        value_format=_value_format_of_topic(consumer, topic)
        if bytes_or_str_type(endpoint.payload_type) is not bytes
        else None,
    )


def _value_format_of_topic(consumer: ConsumerContract, topic: ContractTopic) -> ValueFormat | None:
    settings = consumer.settings
    return settings.formats_by_topic.get(topic.name or "", settings.value_format)


def kafka_binding(connection: ConnectionSettings, group_id: str | None = None) -> dict[str, Any]:
    """The Kafka binding of an operation: group and client, each as a schema with one value."""
    binding: dict[str, Any] = {}
    if group_id is not None:
        binding["groupId"] = {"type": "string", "enum": [group_id]}
    binding["clientId"] = {"type": "string", "enum": [connection.client_id]}
    return {"kafka": {**binding, "bindingVersion": BINDING}}


def consumer_extensions(consumer: ConsumerContract) -> dict[str, Any]:
    return {"x-consumer": consumer.name, "x-delivery": DELIVERY[consumer.settings.auto_commit_mode]}


def _endpoint_extensions(endpoint: Endpoint) -> dict[str, Any]:
    extensions: dict[str, Any] = {"x-handler": endpoint.name}
    if endpoint.batch is not None:
        limits = endpoint.batch
        extensions["x-batch"] = {"maxRecords": limits.max_records, "maxWaitMs": round(limits.max_wait_s * 1000)}
    return extensions


# ---------------------------------------------------------------------------- sending


def send_operations(producer: ProducerContract) -> Iterator[Operation]:
    for endpoint in producer.endpoints:
        topic = endpoint.topic or producer.settings.topic
        yield Operation(
            action="send",
            owner=producer.name,
            connection=producer.settings.connection,
            topic=ContractTopic(topic) if topic is not None else ContractTopic(None, "No topic is declared."),
            message=_sent_message(endpoint, producer.envelope, topic),
            title=f"{endpoint.event_type} to {topic or 'a topic that is not declared'}",
            bindings=kafka_binding(producer.settings.connection),
            extensions={"x-producer": producer.name, "x-sender": endpoint.name},
        )


def _sent_message(endpoint: OutboundEndpoint[Any], envelope: CloudEventsEnvelope | None, topic: str | None) -> Message:
    sent = endpoint.describe_event_for_format(topic)
    headers = (
        event_type_headers_schema(TYPE_HEADER, endpoint.event_type)
        if envelope is None
        else cloudevents_headers_schema(endpoint.event_type, envelope.source, envelope.mode)
    )
    return Message(
        title=endpoint.event_type,
        name=endpoint.event_type,
        payload=endpoint.payload_type,
        direction="out",
        headers=headers,
        summary=endpoint.summary,
        description=endpoint.description,
        tags=endpoint.tags,
        key=_key_schema(endpoint.key, endpoint.payload_type),
        structured=envelope if envelope is not None and envelope.mode == "structured" else None,
        value_format=endpoint.value_format if sent is not None else None,
        sent=sent,
    )


def _key_schema(key: object, payload: Any) -> dict[str, Any] | None:
    match key:
        case None:
            return None
        case str():
            return {"type": "string", "description": f"The payload's `{json_field_name(payload, key)}`, as UTF-8"}
        case _:
            return {"type": "string", "description": "Derived from the payload"}
