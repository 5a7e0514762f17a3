"""Traces, with the API of OpenTelemetry only: the process chooses the SDK. Needs the extra `evkafka[tracing]`.

Names and attributes are those of the semantic conventions 1.44 for messaging. No span has the key or value of a record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject
from opentelemetry.propagators.textmap import Getter, Setter
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer

from evkafka.outcomes import DeadLetter, Failed, FailureOutcome, Outcome, Skip, Unmatched
from evkafka.records import NotReady, Record, RecordMetadata
from evkafka.runtime.attempt import classify_result
from evkafka.runtime.failure_cause import Fatal, classify_exception, failure_message, reported_exception
from evkafka.runtime.ports import BatchAttempt, Dispatch, Slot
from evkafka.serde.safe_text import NAME_CHARACTERS, truncate

Pairs = list[tuple[str, bytes | None]]


class _Headers(Getter[Sequence[tuple[str, bytes | None]]], Setter[Pairs]):
    """Lets the propagators read and write record headers. They ignore headers that are not UTF-8."""

    def get(self, carrier: Sequence[tuple[str, bytes | None]], key: str) -> list[str] | None:
        found = [value.decode(errors="replace") for name, value in carrier if name == key and value is not None]
        return found or None

    def keys(self, carrier: Sequence[tuple[str, bytes | None]]) -> list[str]:
        return [name for name, _ in carrier]

    def set(self, carrier: Pairs, key: str, value: str) -> None:
        if all(name != key for name, _ in carrier):  # a header that the sender has set takes precedence
            carrier.append((key, value.encode()))


HEADERS = _Headers()


class Tracing:
    """Creates the spans of one app."""

    def __init__(self) -> None:
        self._tracer: Tracer = trace.get_tracer("evkafka")

    # ------------------------------------------------------------------ receiving

    def wrap_dispatch_with_spans(self, dispatch: Dispatch) -> Dispatch:
        """The same dispatch, with a span for each attempt. Its parent is in the record's headers."""
        traced = _TracedDispatch(dispatch, self._tracer)
        return replace(dispatch, call=traced.call, open_batch=traced.open_batch, thread_call=None)

    # ------------------------------------------------------------------ sending

    def start_send(self, topic: str, client_id: str, headers: Pairs) -> Callable[[RecordMetadata | None, Any], None]:
        """Start a span and write its context into the headers. The returned function ends it."""
        attributes = {**_common_attributes("send", topic), "messaging.client.id": client_id}
        span = self._tracer.start_span(f"send {topic}", kind=SpanKind.PRODUCER, attributes=attributes)
        inject(headers, context=trace.set_span_in_context(span), setter=HEADERS)

        def ended(metadata: RecordMetadata | None, error: BaseException | None) -> None:
            if metadata is not None:
                span.set_attribute("messaging.destination.partition.id", str(metadata.partition))
                if metadata.offset >= 0:  # not known of a send that is kept for a transaction
                    span.set_attribute("messaging.kafka.offset", metadata.offset)
            if error is not None:
                _record_error_on_span(span, error)
            span.end()

        return ended


class _TracedDispatch:
    """A dispatch that runs each attempt in a span."""

    def __init__(self, dispatch: Dispatch, tracer: Tracer) -> None:
        self._dispatch = dispatch
        self._tracer = tracer

    def call(self, record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
        context = extract(record.headers, getter=HEADERS)
        span = self._tracer.start_span(
            f"process {record.topic}",
            context=context,
            kind=SpanKind.CONSUMER,
            attributes=_process_attributes(record, slot),
        )
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                attempt = self._dispatch.call(record, slot)
        except NotReady:
            raise  # no attempt: a span that is not ended is not exported
        except BaseException as error:
            _record_error_on_span(span, error)
            span.end()
            raise
        if isinstance(attempt, Unmatched):
            span.set_attribute("evkafka.outcome", "unmatched")
            span.end()
            return attempt
        return _run_in_span(span, attempt, slot)

    def open_batch(self, records: Sequence[Record], slot: Slot) -> BatchAttempt:
        return _BatchWithTracedRun(self._dispatch.open_batch(records, slot), records, slot, self._tracer)


async def _run_in_span(span: Span, attempt: Awaitable[object], slot: Slot) -> object:
    """Await the attempt in its span."""
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            result = await attempt
        except BaseException as error:
            _record_result_on_span(span, error)
            raise
        finally:
            if slot.route is not None:
                span.set_attribute("evkafka.event_type", slot.route.event_type)
        _record_result_on_span(span, result)
        return result


class _BatchWithTracedRun:
    """A batch in one span, with links to the spans that sent its records."""

    def __init__(self, batch: BatchAttempt, records: Sequence[Record], slot: Slot, tracer: Tracer) -> None:
        self._batch = batch
        self._records = records
        self._slot = slot
        self._tracer = tracer

    async def run_up_to_endpoint(self) -> Mapping[int, FailureOutcome | None]:
        return await self._batch.run_up_to_endpoint()

    async def run_endpoint(self, wanted: Sequence[int]) -> object:
        first = self._records[wanted[0] if wanted else 0]
        span = self._tracer.start_span(
            f"process {first.topic}",
            context=Context(),
            kind=SpanKind.CONSUMER,
            attributes={**_process_attributes(first, self._slot), "messaging.batch.message_count": len(wanted)},
            links=[link for index in wanted if (link := _create_link_to_sender_span(self._records[index])) is not None],
        )
        return await _run_in_span(span, self._batch.run_endpoint(wanted), self._slot)

    async def close(self) -> None:
        await self._batch.close()


def _create_link_to_sender_span(record: Record) -> Link | None:
    """A link to the span that sent this record; None if there is none."""
    sender = trace.get_current_span(extract(record.headers, context=Context(), getter=HEADERS)).get_span_context()
    return Link(sender) if sender.is_valid else None


# ---------------------------------------------------------------------------- attributes


def _common_attributes(operation: str, topic: str) -> dict[str, Any]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _process_attributes(record: Record, slot: Slot) -> dict[str, Any]:
    attributes = {
        **_common_attributes("process", record.topic),
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.client.id": slot.consumer.client_id,
        "evkafka.consumer": slot.consumer.name,
        "evkafka.attempt": slot.attempt,
    }
    if slot.consumer.group_id is not None:
        attributes["messaging.consumer.group.name"] = slot.consumer.group_id
    if record.value is None:
        attributes["messaging.kafka.message.tombstone"] = True
    return attributes


def _record_result_on_span(span: Span, result: object) -> None:
    """Record the result of an attempt on its span. An outcome is not an error."""
    meaning = classify_exception(result) if isinstance(result, BaseException) else classify_result(result)
    match meaning:
        case Failed(error=error) | Fatal(error=error):
            _record_error_on_span(span, error)
        case Unmatched():
            span.set_attribute("evkafka.outcome", "unmatched")
        case Outcome():
            span.set_attribute("evkafka.outcome", type(meaning).__name__)
    if isinstance(meaning, Skip | DeadLetter) and meaning.reason:
        span.set_attribute("evkafka.reason", truncate(meaning.reason, NAME_CHARACTERS))


def _record_error_on_span(span: Span, error: BaseException) -> None:
    kind = type(reported_exception(error))
    span.set_attribute("error.type", kind.__qualname__ if kind.__module__ == "builtins" else _full_class_name(kind))
    span.set_status(StatusCode.ERROR, next(iter(failure_message(error).splitlines()), kind.__name__))


def _full_class_name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
