"""The retry topics of an app: it writes records there when their attempts are over, and reads them again when due."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from evkafka.asyncapi.messages import Message, event_type_headers_schema
from evkafka.asyncapi.model import ConsumerContract
from evkafka.asyncapi.operations import (
    ContractTopic,
    Operation,
    consumer_extensions,
    kafka_binding,
    received_message,
    topics_of_consumer,
)
from evkafka.endpoints.endpoint import Endpoint
from evkafka.runtime.dead_letters.retry_topics import (
    PREFIX,
    retry_consumer_name,
    retry_consumer_settings,
    retry_topics_of,
)

HEADERS = {
    "topic": "The topic that the record came from",
    "partition": "Its partition there",
    "offset": "Its offset there",
    "timestamp": "Its timestamp there, in milliseconds since the epoch",
    "group": "The consumer group that retries it",
    "id": "The id of its dead letter, if it becomes one",
    "event-type": "The event type of the endpoint that failed",
    "attempts": "Number of attempts so far",
    "error-type": "The class of the last error",
    "error-message": "The last error, truncated to 1 KiB",
}


def retry_topic_operations(consumer: ConsumerContract) -> Iterator[Operation]:
    """The records that the consumer's error policies write to retry topics, and that its retry consumer reads."""
    settings = consumer.settings
    # With a handler, a record that no endpoint takes is not tried again: the consumer's own policy writes nothing here.
    policies = {
        endpoint: policy
        for endpoint, policy in consumer.policies.items()
        if endpoint is not None or consumer.endpoints is None
    }
    topics = retry_topics_of(settings, policies.values())
    if not topics:
        return
    reader = dataclasses.replace(
        consumer, name=retry_consumer_name(consumer.name), settings=retry_consumer_settings(settings, topics)
    )
    for name, delayed in topics.items():
        retry_topic = ContractTopic(
            name,
            f"Records of `{delayed.source}` that consumer `{consumer.name}` retries {delayed.delay_ms} ms after they"
            " were written here.",
        )
        source = next(topic for topic in topics_of_consumer(consumer) if topic.name == delayed.source)
        for endpoint, policy in policies.items():
            if delayed.delay_ms not in policy.retry_topics:
                continue
            message = _create_message(consumer, source, endpoint)
            yield Operation(
                action="send",
                owner=consumer.name,
                connection=settings.connection,
                topic=retry_topic,
                message=message,
                title=f"{message.title} to {name}",
                summary="Written, and confirmed, before the record's offset is committed.",
                extensions={"x-consumer": consumer.name, "x-retries-of": delayed.source},
            )
            yield Operation(
                action="receive",
                owner=reader.name,
                connection=settings.connection,
                topic=retry_topic,
                message=message,
                title=f"{message.title} from {name}",
                summary=f"Handled after {delayed.delay_ms} ms. The order of keys is not kept.",
                bindings=kafka_binding(reader.settings.connection, reader.settings.group_id),
                extensions={**consumer_extensions(reader), "x-retries-of": delayed.source},
            )


def _create_message(consumer: ConsumerContract, source: ContractTopic, endpoint: Endpoint | None) -> Message:
    if endpoint is None:
        message = Message("Any event", None, Any, "in", event_type_headers_schema(consumer.type_header, None))
    else:
        message = received_message(consumer, source, endpoint)
    return dataclasses.replace(
        message,
        title=f"{message.title}, to be retried",
        summary="A record that waits for its next attempt, with its original key, value and headers.",
        description=None,
        headers=message.headers_schema_with({PREFIX + name: text for name, text in HEADERS.items()}),
    )
