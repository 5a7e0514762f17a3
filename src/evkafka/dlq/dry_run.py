"""What an attempt at a record would meet before its endpoint is called. Nothing of the user's is run but decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evkafka.context import App
from evkafka.dlq.dead_letter import DeadLetterRecord
from evkafka.dlq.replay import Judge
from evkafka.handler import Handler
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware
from evkafka.serde.decode_errors import decode_fault

WOULD_RUN = "would run"


def verdict(
    target: Handler | App, *, event_type: str | None, value: bytes | None, decodes: bool = True
) -> tuple[str, str | None]:
    """What would become of a record: in short, and why it would fail.

    Args:
        decodes: False where a middleware makes the payload: what it makes is known only by running it.
    """
    if not isinstance(target, Handler):
        return WOULD_RUN, None
    endpoint = target.find(event_type)
    if endpoint is None:
        return f"no endpoint for {event_type}" if event_type else "no event type", None
    decoder = endpoint.resolve()
    if value is None:
        return (WOULD_RUN, None) if decoder.admits_none or not decodes else ("tombstone", None)
    if not decodes:
        return WOULD_RUN, None
    try:
        decoder.from_bytes(value)
    except Exception as error:  # a user's validator may raise anything; BaseException ends the command
        return "would fail", f"not the {decoder.expected} of {endpoint.name}: {decode_fault(error, decoder.names())}"
    return WOULD_RUN, None


def judge_of(
    target: Handler | App,
    *,
    group_id: str | None,
    type_header: str,
    topic_types: Mapping[str, str | None],
    middleware: Sequence[Middleware] | None,
) -> Judge:
    """What says whether a letter would be given to an endpoint of this consumer.

    Args:
        topic_types: the event type of a topic's records that tell none.
        middleware: the consumer's stack; None for the default one.
    """
    plain = all(one.cls is JsonTypedDecoderMiddleware for one in middleware or ())

    def judge(letter: DeadLetterRecord) -> str | None:
        if why := of_another_group(letter, group_id):
            return why
        own = dict(reversed(letter.record.headers)).get(type_header)
        event_type = own.decode(errors="replace") if own is not None else topic_types.get(letter.topic or "")
        if not plain:
            event_type = event_type or letter.event_type
        outcome, why = verdict(target, event_type=event_type, value=letter.record.value, decodes=plain)
        return why or (None if outcome == WOULD_RUN else outcome)

    return judge


def of_another_group(letter: DeadLetterRecord, group_id: str | None) -> str | None:
    if letter.group in (None, group_id):
        return None
    return f"it is a dead letter of group {letter.group!r}, and this consumer's is {group_id!r}"
