"""Step 4 of 7: the way from a record to its endpoint, compiled once when the app starts.

With the default stack there is no context, no request and no coroutine of ours between a record and the user's
function: the type's bytes are looked up as they came, and the endpoint's own coroutine is handed to the executor.
With a stack of one's own, or an App callable, each attempt runs through it on a fresh Context.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from evkafka.context import App, Context
from evkafka.endpoints.batch import DirectBatch, batch_of_one, stack_batch
from evkafka.endpoints.endpoint import Call, Endpoint, TypeOf
from evkafka.handler import Handler
from evkafka.handler import unmatched as unmatched_outcome
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware, build_stack, type_header
from evkafka.outcomes import Unmatched
from evkafka.records import Record
from evkafka.runtime.ports import BatchAttempt, Dispatch, Overrides, Route, Slot
from evkafka.serde.decoding import DECODE_FAILURES

logger = logging.getLogger("evkafka")


def build_dispatch(
    target: Handler | App,
    middleware: Sequence[Middleware] | None,
    *,
    topic_event_types: Mapping[str, str] | None = None,
    overrides: Overrides = dict,
) -> Dispatch:
    """Compile the way of a consumer's records.

    Args:
        target: a handler, or any App.
        middleware: the stack around it; None for the default one.
        topic_event_types: topic -> the type of all its records that carry none.
        overrides: gives, at each attempt, what stands in for which dependency.

    Raises:
        ConfigError: an endpoint's annotations cannot be resolved, a middleware cannot be made, an override cannot be a
            dependency.
    """
    stack = build_stack(target, middleware or ())
    types = dict(topic_event_types or {})
    if not isinstance(target, Handler):
        return _through(stack, types, None, overrides)
    target.freeze()
    for endpoint in target.endpoints:
        if endpoint.depends:
            endpoint.plan(overrides())
    header = type_header(middleware)
    if _is_default(middleware):
        return _direct(target, header, types, overrides)
    gated = _gated(target, _raw_type(header, types))
    if gated is not None and not any(_reads_types(one) for one in middleware or ()):
        logger.warning(
            "batch endpoints, and those with a concurrency of their own, are found by the header %r: a type that a"
            " middleware sets is known too late, and such records come one by one",
            header,
        )
    return _through(stack, types, gated, overrides)


def _is_default(middleware: Sequence[Middleware] | None) -> bool:
    """Whether the stack does no more than the default one does, whatever its header's name."""
    match list(middleware or ()):
        case []:
            return True
        case [only]:
            return only.cls is JsonTypedDecoderMiddleware
        case _:
            return False


def _reads_types(one: Middleware) -> bool:
    return isinstance(one.cls, type) and issubclass(one.cls, JsonTypedDecoderMiddleware)


def _raw_type(header: str, topic_types: Mapping[str, str]) -> Callable[[Record], bytes | None]:
    """A record's type as it came: by the header, the first one of the name counts, else by its topic."""
    type_by_topic = {topic: event_type.encode() for topic, event_type in topic_types.items()}

    def raw_type(record: Record) -> bytes | None:
        for name, value in record.headers:
            if name == header:
                return value if value is not None else type_by_topic.get(record.topic)
        return type_by_topic.get(record.topic)

    return raw_type


def _gated(handler: Handler, raw_type: Callable[[Record], bytes | None]) -> Callable[[Record], Route | None] | None:
    """The look-up of `Dispatch.gated`; None where no endpoint takes batches or has a bound of its own."""
    gates: dict[bytes | None, Endpoint | None] = {}
    default: Endpoint | None = None
    for endpoint in handler.endpoints:
        gate = endpoint if endpoint.batch is not None or endpoint.concurrency is not None else None
        if endpoint.is_default:
            default = gate
        else:
            gates[_name(endpoint)] = gate
    if default is None and not any(gates.values()):
        return None

    def gated(record: Record) -> Route | None:
        endpoint = gates.get(raw_type(record), default)
        if endpoint is not None and record.value is None and not endpoint.resolve().admits_none:
            return None
        return endpoint

    return gated


def _name(endpoint: Endpoint) -> bytes:
    return endpoint.event_type.encode(errors="surrogatepass")


def _direct(handler: Handler, header: str, topic_types: Mapping[str, str], overrides: Overrides) -> Dispatch:
    """The default stack around a handler, as one function."""
    type_by_topic = {topic: event_type.encode() for topic, event_type in topic_types.items()}
    raw_type = _raw_type(header, topic_types)

    def type_of(record: Record) -> str | None:
        event_type = raw_type(record)
        return event_type.decode(errors="replace") if event_type is not None else None

    routes: dict[bytes | None, Way] = {}
    default: Way | None = None
    for endpoint in handler.endpoints:
        way = _way(endpoint, _call(endpoint, type_of, overrides))
        if endpoint.is_default:
            default = way
        else:
            routes[_name(endpoint)] = way

    # The hottest function beside the executor's walk: `raw_type` is written out in it.
    def dispatch(record: Record, slot: Slot) -> Awaitable[object] | None:
        event_type = None
        for name, value in record.headers:
            if name == header:
                event_type = value
                break
        if event_type is None and type_by_topic:
            event_type = type_by_topic.get(record.topic)
        way = routes.get(event_type, default)
        payload = record.value
        if way is None or (payload is None and not way[4]):
            slot.route = None
            return None
        endpoint, coroutine_of, decode, call, _ = way
        slot.route = endpoint
        if coroutine_of is None or payload is None:
            return call(record, slot)
        try:
            decoded = decode(payload)
        except DECODE_FAILURES as error:
            fault = endpoint.decoding_fault(error, record)
        else:
            return coroutine_of(decoded)
        raise fault

    def unmatched(record: Record) -> Unmatched:
        return unmatched_outcome(type_of(record), tombstone=record.value is None)

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        assert isinstance(slot.route, Endpoint)
        slot.overrides = overrides
        return DirectBatch(slot.route, records, slot)

    return Dispatch(dispatch, unmatched, _gated(handler, raw_type), open_batch)


Way = tuple[
    Endpoint,
    Callable[[Any], Awaitable[object]] | None,  # the endpoint's own coroutine, where it takes the payload alone
    Callable[[bytes], Any],
    Call,  # the way for all other endpoints, and for tombstones
    bool,  # whether it takes tombstones
]


def _call(endpoint: Endpoint, type_of: TypeOf, overrides: Overrides) -> Call:
    call = endpoint.compile(type_of) if endpoint.batch is None else partial(batch_of_one, endpoint)
    if not endpoint.depends:
        return call

    def overridable(record: Record, slot: Slot) -> Awaitable[object]:
        slot.overrides = overrides
        return call(record, slot)

    return overridable


def _way(endpoint: Endpoint, call: Call) -> Way:
    decoder = endpoint.resolve()
    return endpoint, endpoint.coroutine_of(), decoder.from_bytes, call, decoder.admits_none


def _through(
    stack: App, topic_types: Mapping[str, str], gated: Callable[[Record], Route | None] | None, overrides: Overrides
) -> Dispatch:
    """A stack of one's own: run on a fresh context for each attempt, whose outcome is the result."""

    async def through_stack(record: Record, slot: Slot) -> object:
        slot.route = None
        slot.overrides = overrides
        context = Context(record, slot, topic_types.get(record.topic))
        await stack(context)
        return context.outcome

    def unmatched(record: Record) -> Unmatched:
        """Never asked for: what no endpoint takes is said by the context's outcome."""
        return Unmatched("no_endpoint")

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        slot.overrides = overrides
        return stack_batch(stack, records, slot, topic_types)

    return Dispatch(through_stack, unmatched, gated, open_batch)
