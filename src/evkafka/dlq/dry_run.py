"""Predict what an attempt at a record meets before its endpoint is called. Of the user's code only decoders run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from evkafka.config.settings import ConsumerSettings
from evkafka.dlq.dead_letter import DeadLetterRecord, original_record
from evkafka.dlq.replay import DryRunCheck
from evkafka.endpoints.endpoint import Endpoint
from evkafka.exceptions import DecodeError
from evkafka.handler import Handler
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.records import Record
from evkafka.serde.decode_errors import decode_error_text
from evkafka.serde.formats.consumer_formats import ConsumerFormats

WOULD_RUN = "would run"


class CheckedConsumer(Protocol):
    """The part of a declared consumer that a check uses."""

    @property
    def settings(self) -> ConsumerSettings: ...
    @property
    def handler(self) -> Handler | None: ...
    @property
    def middleware(self) -> Sequence[Middleware] | None: ...
    @property
    def stack_type_header(self) -> str: ...
    @property
    def default_event_type_by_topic(self) -> Mapping[str, str]: ...
    def record_without_cloudevents_envelope(self, record: Record) -> Record: ...
    def formats(self) -> ConsumerFormats | None: ...


def predict_outcome(
    handler: Handler | None,
    *,
    event_type: str | None,
    value: bytes | None,
    decodes: bool = True,
    decode: Callable[[Endpoint, bytes], Any] = lambda endpoint, value: endpoint.resolve_decoder().from_bytes(value),
) -> tuple[str, str | None]:
    """The outcome in a few words, and why the record would fail, or None.

    Args:
        handler: the consumer's; None if an app callable takes its records.
        decodes: False if a middleware changes the payload, so that decoding it here would mean nothing.
        decode: decodes a value for an endpoint; default: as JSON.
    """
    if handler is None:
        return WOULD_RUN, None
    endpoint = handler.find_endpoint(event_type)
    if endpoint is None:
        return f"no endpoint for {event_type}" if event_type else "no event type", None
    decoder = endpoint.resolve_decoder()
    if value is None:
        return (WOULD_RUN, None) if decoder.admits_none or not decodes else ("tombstone", None)
    if not decodes:
        return WOULD_RUN, None
    try:
        decode(endpoint, value)
    except Exception as error:  # a user's validator may raise anything; BaseException ends the command
        return (
            "would fail",
            f"not the {decoder.expected} of {endpoint.name}: {decode_error_text(error, decoder.names())}",
        )
    return WOULD_RUN, None


def predict_outcome_with_schema(
    handler: Handler | None,
    formats: ConsumerFormats,
    record: Record,
    *,
    event_type: str | None,
    default_event_type_by_topic: Mapping[str, str],
    decodes: bool = True,
) -> tuple[str, str | None]:
    """The same for a record whose value may have a schema. Its schema must be known, or nothing is predicted.

    Args:
        event_type: of its header; None if it has none.
    """
    if not formats.is_record_schema_known(record):
        return WOULD_RUN, None
    if event_type is None and (fault := formats.undecodable_error(record)) is not None:
        return "would fail", str(fault)
    return predict_outcome(
        handler,
        event_type=event_type
        if event_type is not None
        else formats.event_type_reader(default_event_type_by_topic)(record),
        value=record.value,
        decodes=decodes,
        decode=lambda endpoint, value: endpoint.decoder_for_formats(formats)(value, record),
    )


def create_reaches_endpoint_check(consumer: CheckedConsumer) -> DryRunCheck:
    """A check whether a dead letter would reach an endpoint of this consumer."""
    type_header, topic_types = consumer.stack_type_header, consumer.default_event_type_by_topic
    is_default = all(layer.cls is JsonTypedDecoderMiddleware for layer in consumer.middleware or ())
    formats = consumer.formats()

    def check(dead_letter: DeadLetterRecord) -> str | None:
        if reason := other_group_reason(dead_letter, consumer.settings.group_id):
            return reason
        try:
            record = consumer.record_without_cloudevents_envelope(dead_letter.record)
        except DecodeError as error:
            return str(error)
        header = dict(reversed(record.headers)).get(type_header)
        if formats is not None:
            own_type = header.decode(errors="replace") if header is not None else dead_letter.event_type
            outcome, reason = predict_outcome_with_schema(
                consumer.handler,
                formats,
                original_record(dead_letter, record, record.headers),
                event_type=own_type,
                default_event_type_by_topic=topic_types,
                decodes=is_default,
            )
            return reason or (None if outcome == WOULD_RUN else outcome)
        if header is not None:
            event_type: str | None = header.decode(errors="replace")
        else:
            event_type = topic_types.get(dead_letter.topic or "")
        if not is_default:
            event_type = event_type or dead_letter.event_type
        outcome, reason = predict_outcome(
            consumer.handler, event_type=event_type, value=record.value, decodes=is_default
        )
        return reason or (None if outcome == WOULD_RUN else outcome)

    return check


def other_group_reason(dead_letter: DeadLetterRecord, group_id: str | None) -> str | None:
    """Why this consumer must not handle the dead letter: another group wrote it. None if it may."""
    if dead_letter.group in (None, group_id):
        return None
    return f"it is a dead letter of group {dead_letter.group!r}, but this consumer's group is {group_id!r}"
