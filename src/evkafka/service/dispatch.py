"""Step 4 of 7: finds a record's endpoint and starts its call. Compiled once, when the app starts.

With the default stack EVKafka creates no object per record: no context, request or coroutine. The header's bytes are
looked up without decoding, and the executor gets the endpoint's own coroutine. With any other stack, and with
an app callable, each attempt runs the stack on a new `Context`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evkafka.context import App, Context
from evkafka.endpoints.batch import DirectBatch, call_with_one_record, create_batch_through_middleware
from evkafka.endpoints.endpoint import Call, Endpoint, TypeOf
from evkafka.handler import Handler, check_record_schema_is_known, unmatched_outcome
from evkafka.middleware import (
    DEFAULT_STACK,
    JsonTypedDecoderMiddleware,
    Middleware,
    build_stack,
    type_header_name_of_stack,
)
from evkafka.outcomes import Unmatched
from evkafka.records import Record
from evkafka.runtime.ports import BatchAttempt, Dispatch, Overrides, Route, Slot, ThreadCall
from evkafka.serde.decoding import DECODE_FAILURES
from evkafka.serde.formats.consumer_formats import ConsumerFormats
from evkafka.serde.formats.interface import DecodeValue
from evkafka.serde.safe_text import NAME_CHARACTERS

logger = logging.getLogger("evkafka")

KEPT_TYPES = 1000
"""For how many event types without an endpoint the outcome is kept."""

RawTypeOf = Callable[[Record], bytes | None]
"""Gives a record's event type as bytes, as it is in the header."""


def build_dispatch(
    target: Handler | App,
    middleware: Sequence[Middleware] | None,
    *,
    default_event_type_by_topic: Mapping[str, str] | None = None,
    overrides: Overrides = dict,
    formats: ConsumerFormats | None = None,
) -> Dispatch:
    """Compile the dispatch of a consumer's records.

    Args:
        target: a handler, or any app callable.
        middleware: the stack around it; None for the default one.
        default_event_type_by_topic: topic -> the event type of records without a type header.
        overrides: gives the app's dependency overrides; called at each attempt.
        formats: of the consumer's topics; None if all values are JSON.

    Raises:
        ConfigError: an endpoint's annotations cannot be resolved, a middleware cannot be instantiated, an override
            cannot be a dependency.
    """
    topic_types = dict(default_event_type_by_topic or {})
    if not isinstance(target, Handler):
        stack = build_stack(target, DEFAULT_STACK if middleware is None else middleware)
        untyped = _event_type_lookup_by_schema_or_topic(topic_types, formats)
        return _create_dispatch_through_middleware(stack, untyped, lambda _: None, None, overrides, formats)
    stack = build_stack(target, middleware or ())  # a handler reads the type itself
    target.freeze()
    for endpoint in target.endpoints:
        if endpoint.has_dependencies:
            endpoint.dependency_plan(overrides())
    header = type_header_name_of_stack(middleware)
    raw_type = (
        _event_type_lookup_by_header_or_topic(header, topic_types)
        if formats is None
        else _type_lookup_by_header_schema_or_topic(header, topic_types, formats)
    )
    limited_route = _create_batch_or_limited_route_lookup(target, raw_type)
    if _is_default_stack(middleware):
        return _create_dispatch_without_middleware(
            target, header, topic_types, raw_type, limited_route, overrides, formats
        )
    if limited_route is not None and not any(layer.type_header_name is not None for layer in middleware or ()):
        logger.warning(
            "batch endpoints and endpoints with their own `concurrency` are chosen by the header %r; if a middleware"
            " sets the event type, their records are handled one by one",
            header,
        )
    untyped, route = _event_type_lookup_by_schema_or_topic(topic_types, formats), _route_lookup(target, raw_type)
    return _create_dispatch_through_middleware(stack, untyped, route, limited_route, overrides, formats)


def _is_default_stack(middleware: Sequence[Middleware] | None) -> bool:
    """Whether the stack does the same as the default one. It may read the type from a header with another name."""
    match list(middleware or ()):
        case []:
            return True
        case [only]:
            return only.cls is JsonTypedDecoderMiddleware
        case _:
            return False


# ---------------------------------------------------------------------------- the look-up of types


def _event_type_lookup_by_header_or_topic(header: str, topic_types: Mapping[str, str]) -> RawTypeOf:
    """The type is in the first header of this name; if there is none, or the first is null, the topic decides."""
    type_by_topic = _encode_event_types_of_topics(topic_types)

    def raw_type(record: Record) -> bytes | None:
        for name, value in record.headers:
            if name == header:
                return value if value is not None else type_by_topic.get(record.topic)
        return type_by_topic.get(record.topic)

    return raw_type


def _type_lookup_by_header_schema_or_topic(
    header: str, topic_types: Mapping[str, str], formats: ConsumerFormats
) -> RawTypeOf:
    """The same, except that before the topic the name of the value's schema decides. Raises NotReady while the schema
    is being asked for."""
    type_of = formats.event_type_reader(topic_types)

    def raw_type(record: Record) -> bytes | None:
        for name, value in record.headers:
            if name == header:
                if value is not None:
                    return value
                break
        event_type = type_of(record)
        return event_type.encode(errors="surrogatepass") if event_type is not None else None

    return raw_type


def _event_type_lookup_by_schema_or_topic(
    topic_types: Mapping[str, str], formats: ConsumerFormats | None
) -> Callable[[Record], str | None]:
    """The event type of a record without a type header."""
    return (
        formats.event_type_reader(topic_types) if formats is not None else lambda record: topic_types.get(record.topic)
    )


def _event_type_text_lookup(raw_type: RawTypeOf) -> TypeOf:
    def type_of(record: Record) -> str | None:
        event_type = raw_type(record)
        return event_type.decode(errors="replace") if event_type is not None else None

    return type_of


def _encode_event_types_of_topics(topic_types: Mapping[str, str]) -> dict[str, bytes]:
    return {topic: event_type.encode() for topic, event_type in topic_types.items()}


def _route_lookup(handler: Handler, raw_type: RawTypeOf) -> Callable[[Record], Route | None]:
    """`Dispatch.route`."""
    default = next((endpoint for endpoint in handler.endpoints if endpoint.is_default), None)
    by_type: dict[bytes | None, Endpoint] = {
        endpoint.encoded_event_type: endpoint for endpoint in handler.endpoints if endpoint is not default
    }
    return lambda record: by_type.get(raw_type(record), default)


def _create_batch_or_limited_route_lookup(
    handler: Handler, raw_type: RawTypeOf
) -> Callable[[Record], Route | None] | None:
    """`Dispatch.limited_route`; None if no endpoint takes batches or has its own `concurrency`."""
    limited_endpoints: dict[bytes | None, Endpoint | None] = {}
    default: Endpoint | None = None
    for endpoint in handler.endpoints:
        limited = endpoint if endpoint.batch is not None or endpoint.concurrency is not None else None
        if endpoint.is_default:
            default = limited
        else:
            limited_endpoints[endpoint.encoded_event_type] = limited
    if default is None and not any(limited_endpoints.values()):
        return None

    def limited_route(record: Record) -> Route | None:
        endpoint = limited_endpoints.get(raw_type(record), default)
        if endpoint is not None and record.value is None and not endpoint.resolve_decoder().admits_none:
            return None
        return endpoint

    return limited_route


# ---------------------------------------------------------------------------- the default stack


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """An endpoint, and what the dispatch of one of its records needs.

    Attributes:
        payload_call: payload -> the endpoint's own coroutine; None if the endpoint needs more than its payload.
        decode: bytes -> payload.
        call: starts an attempt; used for tombstones, and for all records if `payload_call` is None.
        admits_none: whether the endpoint takes tombstones.
        by_format: value and record -> payload, if the consumer's values are not all JSON.
    """

    endpoint: Endpoint
    payload_call: Callable[[Any], Awaitable[object]] | None
    decode: Callable[[bytes], Any]
    call: Call
    admits_none: bool
    by_format: DecodeValue | None = None


def _compile_route(
    endpoint: Endpoint, type_of: TypeOf, overrides: Overrides, formats: ConsumerFormats | None
) -> CompiledRoute:
    decoder = endpoint.resolve_decoder()
    call = (
        endpoint.compile_call(type_of, overrides, formats)
        if endpoint.batch is None
        else _create_single_call(endpoint, overrides)
    )
    by_format = endpoint.decoder_for_formats(formats) if formats is not None else None
    return CompiledRoute(endpoint, endpoint.payload_call(), decoder.from_bytes, call, decoder.admits_none, by_format)


def _create_single_call(endpoint: Endpoint, overrides: Overrides) -> Call:
    def call(record: Record, slot: Slot) -> Awaitable[object]:
        slot.overrides = overrides
        return call_with_one_record(endpoint, record, slot)

    return call


def _create_dispatch_without_middleware(
    handler: Handler,
    header: str,
    topic_types: Mapping[str, str],
    raw_type: RawTypeOf,
    limited_route: Callable[[Record], Route | None] | None,
    overrides: Overrides,
    formats: ConsumerFormats | None,
) -> Dispatch:
    """The default stack around a handler, compiled into one function.

    With formats, a record whose schema is not known yet raises NotReady, and is dispatched again once it is. Its
    endpoint may be unknown until then: so it is neither admitted to a batch nor begun in a thread before.
    """
    type_of = _event_type_text_lookup(raw_type)

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        assert isinstance(slot.route, Endpoint)
        slot.overrides, slot.formats = overrides, formats
        return DirectBatch(slot.route, records, slot)

    routes = [_compile_route(endpoint, type_of, overrides, formats) for endpoint in handler.endpoints]
    route = _route_lookup(handler, raw_type)
    thread_call = _create_lookup_of_thread_calls(handler.endpoints, route, raw_type, type_of, formats)
    if formats is None:
        call = _create_dispatch_call_without_middleware(routes, header, _encode_event_types_of_topics(topic_types))
        return Dispatch(call, route, limited_route, open_batch, thread_call)
    return Dispatch(
        _create_dispatch_call_with_formats(routes, raw_type, formats),
        _route_lookup_none_until_schema_known(route, formats),
        _route_lookup_none_until_schema_known(limited_route, formats) if limited_route is not None else None,
        open_batch,
        _thread_call_none_until_schema_known(thread_call, formats) if thread_call is not None else None,
        formats.future_done_when_record_schema_known,
    )


def _create_lookup_of_thread_calls(
    endpoints: Sequence[Endpoint],
    route: Callable[[Record], Route | None],
    raw_type: RawTypeOf,
    type_of: TypeOf,
    formats: ConsumerFormats | None,
) -> Callable[[Record, Slot], ThreadCall | Unmatched | None] | None:
    """`Dispatch.thread_call`."""
    calls: dict[Route, Callable[[Record, Slot], ThreadCall]] = {
        endpoint: call for endpoint in endpoints if (call := endpoint.thread_call(type_of, formats)) is not None
    }
    admit_none = {endpoint for endpoint in endpoints if endpoint.resolve_decoder().admits_none}
    unmatched = UnmatchedTypes()

    def thread_call(record: Record, slot: Slot) -> ThreadCall | Unmatched | None:
        endpoint = route(record)
        if endpoint is None or (record.value is None and endpoint not in admit_none):
            return unmatched[raw_type(record), record.value is None]
        call_of = calls.get(endpoint)
        if call_of is None:
            return None
        slot.route = endpoint
        return call_of(record, slot)

    return thread_call if calls else None


def _index_by_type(routes: Sequence[CompiledRoute]) -> tuple[dict[bytes | None, CompiledRoute], CompiledRoute | None]:
    """The routes by event type, and the route of all other types."""
    default = next((route for route in routes if route.endpoint.is_default), None)
    return {route.endpoint.encoded_event_type: route for route in routes if route is not default}, default


def _create_dispatch_call_without_middleware(
    routes: Sequence[CompiledRoute], header: str, type_by_topic: Mapping[str, bytes]
) -> Callable[[Record, Slot], Awaitable[object] | Unmatched]:
    """`Dispatch.call`. With `Executor._run_lane`, this runs most often.

    To save a call per record, `_event_type_lookup_by_header_or_topic` is repeated in it. A record with the same headers
    object as the one before (the decoder shares the tuple) has the same route. A route's functions are bound to a name
    first: CPython 3.11 does not cache a call through a `__slots__` attribute, as `route.decode(...)` would be.
    """
    route_by_type, default = _index_by_type(routes)
    unmatched = UnmatchedTypes()
    last_headers: object = None
    last_type: bytes | None = None
    last_route: CompiledRoute | None = None

    def dispatch(record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
        nonlocal last_headers, last_type, last_route
        headers = record.headers
        if headers is last_headers:
            event_type, route = last_type, last_route
        else:
            last_headers = headers if type(headers) is tuple else None  # what cannot change
            event_type = None
            for name, value in headers:
                if name == header:
                    event_type = value
                    break
            if event_type is None and type_by_topic:
                event_type = type_by_topic.get(record.topic)
                last_headers = None  # the same headers in another topic have another route
            last_type = event_type
            route = last_route = route_by_type.get(event_type, default)
        payload = record.value
        if route is None or (payload is None and not route.admits_none):
            slot.route = None
            return unmatched[event_type, payload is None]
        slot.route = route.endpoint
        payload_call, decode = route.payload_call, route.decode
        if payload_call is None or payload is None:
            call = route.call
            return call(record, slot)
        try:
            decoded = decode(payload)
        except DECODE_FAILURES as error:
            fault = route.endpoint.to_decode_error(error, record)
        else:
            return payload_call(decoded)
        raise fault  # outside of the `except`: the decoder's error, which contains the value, is not its context

    return dispatch


class UnmatchedTypes(dict[tuple[bytes | None, bool], Unmatched]):
    """Why no endpoint takes a record, by its event type and whether it is a tombstone.

    Most records of a topic may be for other consumers: an outcome is kept, unless its text is long or there are many.
    """

    def __missing__(self, key: tuple[bytes | None, bool]) -> Unmatched:
        event_type, tombstone = key
        text = event_type.decode(errors="replace") if event_type is not None else None
        unmatched = unmatched_outcome(text, tombstone=tombstone)
        if len(self) < KEPT_TYPES and len(text or "") <= NAME_CHARACTERS:
            self[key] = unmatched
        return unmatched


# ---------------------------------------------------------------------------- values with a schema


def _route_lookup_none_until_schema_known(
    route: Callable[[Record], Route | None], formats: ConsumerFormats
) -> Callable[[Record], Route | None]:
    """The route; None while the record's schema is not known."""
    return lambda record: route(record) if formats.is_record_schema_known(record) else None


def _thread_call_none_until_schema_known(
    thread_call: Callable[[Record, Slot], ThreadCall | Unmatched | None], formats: ConsumerFormats
) -> Callable[[Record, Slot], ThreadCall | Unmatched | None]:
    def call(record: Record, slot: Slot) -> ThreadCall | Unmatched | None:
        if not formats.is_record_schema_known(record) or formats.undecodable_error(record) is not None:
            return None  # the event loop begins its attempt: it waits, or raises
        return thread_call(record, slot)

    return call


def _create_dispatch_call_with_formats(
    routes: Sequence[CompiledRoute], raw_type: RawTypeOf, formats: ConsumerFormats
) -> Callable[[Record, Slot], Awaitable[object] | Unmatched]:
    """`Dispatch.call`, as `_create_dispatch_call_without_middleware`."""
    route_by_type, default = _index_by_type(routes)
    unmatched = UnmatchedTypes()

    def dispatch(record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
        slot.formats = formats
        event_type, payload = raw_type(record), record.value
        route = route_by_type.get(event_type, default)
        if route is None or (payload is None and not route.admits_none):
            slot.route = None
            check_record_schema_is_known(record, formats, None if event_type is None else "")
            return unmatched[event_type, payload is None]
        slot.route = route.endpoint
        payload_call, by_format = route.payload_call, route.by_format
        if payload_call is None or payload is None or by_format is None:
            call = route.call
            return call(record, slot)
        try:
            decoded = by_format(payload, record)
        except DECODE_FAILURES as error:
            fault = route.endpoint.to_decode_error(error, record)
        else:
            return payload_call(decoded)
        raise fault  # outside of the `except`: the decoder's error, which contains the value, is not its context

    return dispatch


# ---------------------------------------------------------------------------- any other stack


def _create_dispatch_through_middleware(
    stack: App,
    untyped: Callable[[Record], str | None],
    route: Callable[[Record], Route | None],
    limited_route: Callable[[Record], Route | None] | None,
    overrides: Overrides,
    formats: ConsumerFormats | None,
) -> Dispatch:
    """The stack runs on a new context for each attempt; the context's outcome is the result."""

    async def run_stack(record: Record, slot: Slot) -> object:
        slot.route = None
        slot.overrides, slot.formats = overrides, formats
        if formats is not None:
            formats.raise_if_schema_is_being_fetched(record)  # before any middleware runs
        context = Context(record, slot, untyped(record))
        await stack(context)
        return context.outcome

    def open_batch(records: Sequence[Record], slot: Slot) -> BatchAttempt:
        slot.overrides, slot.formats = overrides, formats
        return create_batch_through_middleware(stack, records, slot, untyped)

    if formats is None:
        return Dispatch(run_stack, route, limited_route, open_batch)
    return Dispatch(
        run_stack,
        _route_lookup_none_until_schema_known(route, formats),
        _route_lookup_none_until_schema_known(limited_route, formats) if limited_route is not None else None,
        open_batch,
        awaited=formats.future_done_when_record_schema_known,
    )
