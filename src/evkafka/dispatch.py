"""Step 4 of 7: the way from a record to its endpoint, compiled once when the app starts.

With the default stack there is no context, no request and no coroutine of ours between a record and the user's
function: the type's bytes are looked up as they came, and the endpoint's own coroutine is handed to the executor.
With a stack of one's own, or an App callable, each attempt runs through it on a fresh Context.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from evkafka.context import App, Context
from evkafka.endpoint import Endpoint
from evkafka.handler import TYPE_HEADER, Handler
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware, build_stack
from evkafka.outcomes import Unmatched
from evkafka.ports import Dispatch, Record, Slot

Call = Callable[[Record, Slot], Awaitable[object]]


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
    types = dict(topic_event_types or {})
    if isinstance(target, Handler):
        target.freeze()
        header = _type_header(middleware)
        if header is not None:
            return DirectDispatch(target, header, types)
    return StackDispatch(build_stack(target, middleware or ()), types)


def _type_header(middleware: Sequence[Middleware] | None) -> str | None:
    """The type header's name where the stack is the default one, whatever its header; None for any other."""
    if middleware is None or not middleware:
        return TYPE_HEADER
    if len(middleware) == 1 and isinstance(middleware[0], Middleware):
        only = middleware[0]
        if only.cls is JsonTypedDecoderMiddleware and len(only.args) <= 1 and set(only.options) <= {"type_header_name"}:
            return str(only.args[0] if only.args else only.options.get("type_header_name", TYPE_HEADER))
    return None


class DirectDispatch:
    """The default stack around a handler, as one function."""

    def __init__(self, handler: Handler, header: str, topic_types: Mapping[str, str]) -> None:
        self._handler = handler
        self._header = header
        self._topic_types = {topic: event_type.encode() for topic, event_type in topic_types.items()}
        self._routes: dict[bytes, tuple[Endpoint, Call, bool]] = {}
        self._default: tuple[Endpoint, Call, bool] | None = None
        for endpoint in handler.endpoints:
            route = (endpoint, endpoint.compile(), endpoint.resolve().admits_none)
            if endpoint is handler.find(None):
                self._default = route
            else:
                self._routes[endpoint.event_type.encode()] = route

    def __call__(self, record: Record, slot: Slot) -> Awaitable[object] | None:
        header = self._header
        event_type = None
        for name, value in record.headers:
            if name == header:
                event_type = value
                break
        else:
            if self._topic_types:
                event_type = self._topic_types.get(record.topic)
        route = self._routes.get(event_type, self._default)  # type: ignore[arg-type]
        if route is None or (record.value is None and not route[2]):
            slot.route = None
            return None
        slot.route = route[0]
        return route[1](record, slot)

    def unmatched(self, record: Record) -> Unmatched:
        event_type = self._type_of(record)
        shown = event_type.decode(errors="replace") if event_type is not None else None
        if record.value is None:
            return Unmatched("tombstone", shown)
        return Unmatched("no_type" if shown is None else "no_endpoint", shown)

    def _type_of(self, record: Record) -> bytes | None:
        for name, value in record.headers:
            if name == self._header:
                return value
        return self._topic_types.get(record.topic)


class StackDispatch:
    """A stack of one's own: run on a fresh context for each attempt, whose outcome is the result."""

    def __init__(self, stack: App, topic_types: Mapping[str, str]) -> None:
        self._stack = stack
        self._topic_types = topic_types

    def __call__(self, record: Record, slot: Slot) -> Awaitable[object] | None:
        slot.route = None
        return self._through(record, slot)

    async def _through(self, record: Record, slot: Slot) -> Any:
        context = Context(record, slot, topic_event_type=self._topic_types.get(record.topic))
        await self._stack(context)
        return context.outcome

    def unmatched(self, record: Record) -> Unmatched:
        """Never asked for: what no endpoint takes is said by the context's outcome."""
        return Unmatched("no_endpoint")
