"""The dead-letter topics that an app may write to, with the headers of the dead letters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from evkafka.asyncapi.messages import Message, event_type_headers_schema
from evkafka.asyncapi.model import ConsumerContract
from evkafka.asyncapi.operations import ContractTopic, Operation, received_message, topics_of_consumer
from evkafka.config import dead_letter_producer_settings
from evkafka.config.settings import ErrorPolicySettings
from evkafka.endpoints.endpoint import Endpoint

HEADERS = {
    "evkafka-dlq-topic": "The topic that the record came from",
    "evkafka-dlq-partition": "Its partition there",
    "evkafka-dlq-offset": "Its offset there",
    "evkafka-dlq-timestamp": "Its timestamp there, in milliseconds since the epoch",
    "evkafka-dlq-group": "The consumer group whose attempts failed",
    "evkafka-dlq-event-type": "The event type of the endpoint that failed",
    "evkafka-dlq-attempts": "How often it was tried",
    "evkafka-dlq-error-type": "The class of the last error",
    "evkafka-dlq-error-message": "The last error, or the reason that the endpoint gave",
    "evkafka-dlq-error-traceback": "The last 8 KiB of its traceback",
    "evkafka-dlq-failed-at": "When its last attempt failed (RFC 3339)",
    "evkafka-dlq-id": "group/cluster id/topic:topic id/partition/offset of the record that failed first",
}

SPRING_HEADERS = {
    "kafka_dlt-original-topic": "The topic that the record came from",
    "kafka_dlt-original-partition": "Its partition there, as 4 bytes, big-endian",
    "kafka_dlt-original-offset": "Its offset there, as 8 bytes, big-endian",
    "kafka_dlt-original-timestamp": "Its timestamp there, as 8 bytes, big-endian",
    "kafka_dlt-original-consumer-group": "The consumer group whose attempts failed",
    "kafka_dlt-exception-fqcn": "The class of the last error",
    "kafka_dlt-exception-message": "The last error, or the reason that the endpoint gave",
    "kafka_dlt-exception-stacktrace": "Its traceback",
    "evkafka-dlq-attempts": HEADERS["evkafka-dlq-attempts"],
    "evkafka-dlq-id": HEADERS["evkafka-dlq-id"],
}

PLACEHOLDERS = {
    "topic": "The topic that the record came from",
    "event_type": "The record's event type, `unmatched` where no endpoint takes it",
}


def dead_letter_operations(consumer: ConsumerContract) -> Iterator[Operation]:
    """The dead letters that the consumer's error policies write."""
    settings = consumer.settings
    if settings.at_most_once:
        return  # offsets are committed first: failed records are not kept
    for topic in topics_of_consumer(consumer):
        for endpoint in consumer.endpoints or ():
            policy = consumer.policies[endpoint]
            if policy.then == "dead_letter":
                yield _create_operation(consumer, topic, endpoint, policy)
        if settings.unmatched == "dead_letter" or (
            consumer.endpoints is None and settings.on_error.then == "dead_letter"
        ):
            yield _create_operation(consumer, topic, None, settings.on_error)


def _create_operation(
    consumer: ConsumerContract, topic: ContractTopic, endpoint: Endpoint | None, policy: ErrorPolicySettings
) -> Operation:
    message = _create_message(consumer, topic, endpoint, policy)
    dead_letter_topic = _dead_letter_topic(consumer, topic, endpoint, policy)
    return Operation(
        action="send",
        owner=consumer.name,
        connection=dead_letter_producer_settings(consumer.settings, policy).connection,
        topic=dead_letter_topic,
        message=message,
        title=f"{message.title} to {dead_letter_topic.name}",
        summary="Written, and confirmed, before the record's offset is committed.",
        extensions={"x-consumer": consumer.name, "x-dead-letters-of": topic.name or topic.pattern},
    )


def _create_message(
    consumer: ConsumerContract, topic: ContractTopic, endpoint: Endpoint | None, policy: ErrorPolicySettings
) -> Message:
    if endpoint is None:
        message = Message("Any other event", None, Any, "in", event_type_headers_schema(consumer.type_header, None))
    else:
        message = received_message(consumer, topic, endpoint)
    return dataclasses.replace(
        message,
        title=f"{message.title}, dead letter",
        summary="A record whose last attempt failed: its key, value and headers, unchanged.",
        description=None,
        headers=message.headers_schema_with(SPRING_HEADERS if policy.dead_letter_header_style == "spring" else HEADERS),
    )


def _dead_letter_topic(
    consumer: ConsumerContract, topic: ContractTopic, endpoint: Endpoint | None, policy: ErrorPolicySettings
) -> ContractTopic:
    values = {"group_id": consumer.settings.group_id or "none"}
    if topic.name is not None:
        values["topic"] = topic.name
    if endpoint is not None and not endpoint.is_default:
        values["event_type"] = endpoint.event_type
    name = policy.dead_letter_topic
    for placeholder, value in values.items():
        name = name.replace(f"{{{placeholder}}}", value)
    parameters = tuple((part, text) for part, text in PLACEHOLDERS.items() if f"{{{part}}}" in name)
    source = topic.name or topic.pattern
    return ContractTopic(
        name, f"Dead letters of `{source}`, written by consumer `{consumer.name}`.", parameters=parameters
    )
