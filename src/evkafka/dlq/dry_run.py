"""Predict what an attempt at a record meets before its endpoint is called. Of the user's code only decoders run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from evkafka.config.settings import ConsumerSettings
from evkafka.dlq.dead_letter import DeadLetterRecord, original_record
from evkafka.dlq.replay import DryRunCheck
from evkafka.endpoints.endpoint import Endpoint
from evkafka.exceptions import DecodeError
from evkafka.handler import Handler
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.records import Record, first_header
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
    def type_header_read_by_stack(self) -> str: ...
    @property
    def default_event_type_by_topic(self) -> Mapping[str, str]: ...
    def record_without_cloudevents_envelope(self, record: Record) -> Record: ...
    def formats(self) -> ConsumerFormats | None: ...


def predict_outcome(
    consumer: CheckedConsumer, formats: ConsumerFormats | None, event: Record, *, failed_as: str | None = None
) -> tuple[str, str | None]:
    """The outcome of an attempt in a few words, and why the record would fail, or None.

    A record would run if its schema is not known yet, or if an app callable takes it. Middleware of the consumer's own
    may change payload and event type: values are not decoded then, and the record's own type decides nothing.

    Args:
        formats: the consumer's; None if all values are JSON.
        event: the record, without the envelope of a CloudEvent.
        failed_as: the event type of an earlier attempt; it counts if middleware may have given it. If that has no
            endpoint, the record would not run, unless it is the record's own type.
    """
    has_own_middleware = any(layer.cls is not JsonTypedDecoderMiddleware for layer in consumer.middleware or ())
    header = first_header(event, consumer.type_header_read_by_stack)
    event_type = header.decode(errors="replace") if header is not None else None
    topic_types = consumer.default_event_type_by_topic
    if formats is None:
        event_type = topic_types.get(event.topic) if event_type is None else event_type
    elif not formats.is_record_schema_known(event):
        return WOULD_RUN, None
    elif event_type is None and not (has_own_middleware and failed_as):
        if (fault := formats.undecodable_error(event)) is not None:
            return "would fail", str(fault)
        event_type = formats.event_type_reader(topic_types)(event)
    if consumer.handler is None:
        return WOULD_RUN, None
    if has_own_middleware:
        given = failed_as if failed_as != event_type else None
        is_unmatched = given is not None and consumer.handler.find_endpoint(given) is None
        return f"no endpoint for {given}" if is_unmatched else WOULD_RUN, None
    endpoint = consumer.handler.find_endpoint(event_type)
    if endpoint is None:
        return f"no endpoint for {event_type}" if event_type else "no event type", None
    return _predict_decoding(endpoint, formats, event)


def _predict_decoding(endpoint: Endpoint, formats: ConsumerFormats | None, event: Record) -> tuple[str, str | None]:
    decoder = endpoint.resolve_decoder()
    if event.value is None:
        return (WOULD_RUN if decoder.admits_none else "tombstone"), None
    try:
        if formats is None:
            decoder.from_bytes(event.value)
        else:
            endpoint.decoder_for_formats(formats)(event.value, event)
    except Exception as error:  # a user's validator may raise anything; BaseException ends the command
        return (
            "would fail",
            f"not the {decoder.expected} of {endpoint.name}: {decode_error_text(error, decoder.names())}",
        )
    return WOULD_RUN, None


def create_reaches_endpoint_check(consumer: CheckedConsumer) -> DryRunCheck:
    """A check whether a dead letter would reach an endpoint of this consumer."""
    formats = consumer.formats()

    def check(dead_letter: DeadLetterRecord) -> str | None:
        if reason := other_group_reason(dead_letter, consumer.settings.group_id):
            return reason
        try:
            record = consumer.record_without_cloudevents_envelope(dead_letter.record)
        except DecodeError as error:
            return str(error)
        event = original_record(dead_letter, record, record.headers)
        outcome, reason = predict_outcome(consumer, formats, event, failed_as=dead_letter.event_type)
        return reason or (None if outcome == WOULD_RUN else outcome)

    return check


def other_group_reason(dead_letter: DeadLetterRecord, group_id: str | None) -> str | None:
    """Why this consumer must not handle the dead letter: another group wrote it. None if it may."""
    if dead_letter.group in (None, group_id):
        return None
    return f"it is a dead letter of group {dead_letter.group!r}, but this consumer's group is {group_id!r}"
