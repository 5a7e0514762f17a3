"""Step 4 of 7: the way from a record to its endpoint, compiled once when the app starts.

With the default stack there is no context, no request and no coroutine of ours between a record and the user's
function: the type's bytes are looked up as they came, and the endpoint's own coroutine is handed to the executor.
With a stack of one's own, or an App callable, each attempt runs through it on a fresh Context.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from evkafka.context import App, Context
from evkafka.endpoint import Call, Endpoint
from evkafka.handler import Handler
from evkafka.handler import unmatched as unmatched_outcome
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware, build_stack, type_header
from evkafka.outcomes import Unmatched
from evkafka.ports import Dispatch, Record, Slot


def build_dispatch(
    target: Handler | App,
    middleware: Sequence[Middleware] | None,
    *,
    topic_event_types: Mapping[str, str] | None = None,
) -> Dispatch:
    """Compile the way of a consumer's records.

    Args:
        target: a handler, or any App.
        middleware: the stack around it; None for the default one.
        topic_event_types: topic -> the type of all its records that carry none.

    Raises:
        ConfigError: an endpoint's annotations cannot be resolved, a middleware cannot be made.
    """
    stack = build_stack(target, middleware or ())
    types = dict(topic_event_types or {})
    if not isinstance(target, Handler):
        return _through(stack, types)
    target.freeze()
    if _is_default(middleware):
        return _direct(target, type_header(middleware), types)
    return _through(stack, types)


def _is_default(middleware: Sequence[Middleware] | None) -> bool:
    """Whether the stack does no more than the default one does, whatever its header's name."""
    match list(middleware or ()):
        case []:
            return True
        case [only]:
            return only.cls is JsonTypedDecoderMiddleware
        case _:
            return False


def _direct(handler: Handler, header: str, topic_types: Mapping[str, str]) -> Dispatch:
    """The default stack around a handler, as one function."""
    type_by_topic = {topic: event_type.encode() for topic, event_type in topic_types.items()}

    def raw_type(record: Record) -> bytes | None:
        for name, value in record.headers:
            if name == header:
                return value if value is not None else type_by_topic.get(record.topic)
        return type_by_topic.get(record.topic)

    def type_of(record: Record) -> str | None:
        event_type = raw_type(record)
        return event_type.decode(errors="replace") if event_type is not None else None

    routes: dict[bytes | None, Way] = {}
    default: Way | None = None
    for endpoint in handler.endpoints:
        way = _way(endpoint, endpoint.compile(type_of))
        if endpoint.is_default:
            default = way
        else:
            routes[endpoint.event_type.encode(errors="surrogatepass")] = way

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
            # Calling an `async def` runs nothing of it, so that these errors are the decoder's.
            return coroutine_of(decode(payload))
        except (ValueError, RecursionError) as error:
            fault = endpoint.decode_error(error, record)
        raise fault

    def unmatched(record: Record) -> Unmatched:
        return unmatched_outcome(type_of(record), tombstone=record.value is None)

    return _as_dispatch(dispatch, unmatched)


Way = tuple[
    Endpoint,
    Callable[[Any], Awaitable[object]] | None,  # the endpoint's own coroutine, where it takes the payload alone
    Callable[[bytes], Any],
    Call,  # the way for all other endpoints, and for tombstones
    bool,  # whether it takes tombstones
]


def _way(endpoint: Endpoint, call: Call) -> Way:
    decoder = endpoint.resolve()
    return endpoint, endpoint.coroutine_of(), decoder.from_bytes, call, decoder.admits_none


def _through(stack: App, topic_types: Mapping[str, str]) -> Dispatch:
    """A stack of one's own: run on a fresh context for each attempt, whose outcome is the result."""

    async def through_stack(record: Record, slot: Slot) -> object:
        slot.route = None
        context = Context(record, slot, topic_types.get(record.topic))
        await stack(context)
        return context.outcome

    def unmatched(record: Record) -> Unmatched:
        """Never asked for: what no endpoint takes is said by the context's outcome."""
        return Unmatched("no_endpoint")

    return _as_dispatch(through_stack, unmatched)


def _as_dispatch(
    call: Callable[[Record, Slot], Awaitable[object] | None], unmatched: Callable[[Record], Unmatched]
) -> Dispatch:
    """Both as one object. A function takes attributes, and calling one costs less than an instance's `__call__`."""
    call.unmatched = unmatched  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]
