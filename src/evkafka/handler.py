"""Handlers: event type -> endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from evkafka.context import Context
from evkafka.endpoint import Endpoint
from evkafka.exceptions import ConfigError
from evkafka.outcomes import DeadLetter, Outcome, Retry, Skip, Unmatched

F = TypeVar("F", bound=Callable[..., Any])

TYPE_HEADER = "Event-Type"


class Handler:
    """Endpoints by event type. One handler may be given to several consumers.

    It is an `App` too: middleware wraps it, and calling it with a context runs the endpoint.
    """

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        self._default: Endpoint | None = None
        self._frozen = False

    # ------------------------------------------------------------------ declaring

    def event(
        self,
        event_type: str,
        summary: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        *,
        on_error: Mapping[str, Any] | None = None,
        timeout_ms: int | None = None,
    ) -> Callable[[F], F]:
        """Declare the endpoint for an event type; the decorated function is returned unchanged.

        Args:
            event_type: what the record's `Event-Type` header says.
            summary, description, tags: for the contract document; the description defaults to the docstring.
            on_error: the event type's own error policy, laid over the consumer's key by key.
            timeout_ms: the event type's own time limit for one attempt; default: `max_endpoint_exec_time_ms`.

        Raises:
            ConfigError: the signature is not an endpoint's, or the event type has one already.
            RuntimeError: the app has started.
        """
        if not isinstance(event_type, str) or not event_type:  # type: ignore[redundant-expr]
            raise ConfigError(f"an event type is a non-empty string, not {event_type!r}")
        timeout_s = _seconds(timeout_ms, event_type)

        def declare(function: F) -> F:
            self._add(
                Endpoint(
                    function,
                    event_type,
                    summary=summary,
                    description=description,
                    tags=tags,
                    on_error=on_error,
                    timeout_s=timeout_s,
                )
            )
            return function

        return declare

    def default(self) -> Callable[[F], F]:
        """Declare the endpoint that gets what no other takes, also records without a type.

        Raises:
            ConfigError: the signature is not an endpoint's, or there is a default already.
        """

        def declare(function: F) -> F:
            self._refuse_when_frozen()
            endpoint = Endpoint(function, None)
            if self._default is not None:
                raise ConfigError(f"two default endpoints: {self._default.name} and {endpoint.name}")
            self._default = endpoint
            return function

        return declare

    def include_handler(self, other: Handler) -> None:
        """Take over everything the other handler has declared.

        Raises:
            ConfigError: an event type would have two endpoints, or it is this handler itself.
        """
        if other is self:
            raise ConfigError("a handler cannot include itself")
        self._refuse_when_frozen()
        for endpoint in other._endpoints.values():
            self._add(endpoint)
        if other._default is not None:
            if self._default is not None and self._default is not other._default:
                raise ConfigError(f"two default endpoints: {self._default.name} and {other._default.name}")
            self._default = other._default

    def freeze(self) -> None:
        """The app starts: resolve what is declared, and take no more.

        Raises:
            ConfigError: an annotation cannot be resolved.
        """
        for endpoint in self.endpoints:
            endpoint.resolve()
        self._frozen = True

    def _add(self, endpoint: Endpoint) -> None:
        self._refuse_when_frozen()
        known = self._endpoints.get(endpoint.event_type)
        if known is not None and known is not endpoint:
            raise ConfigError(
                f"event type {endpoint.event_type!r} has two endpoints: {known.name} and {endpoint.name}; "
                "a record goes to one: let it call the other, or use another event type"
            )
        self._endpoints[endpoint.event_type] = endpoint

    def _refuse_when_frozen(self) -> None:
        if self._frozen:
            raise RuntimeError("the app has started: endpoints must be declared before")

    # ------------------------------------------------------------------ what is declared

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints, the default one last."""
        return (*self._endpoints.values(), *([self._default] if self._default is not None else []))

    def find(self, event_type: str | None) -> Endpoint | None:
        """The endpoint for an event type, or the default one."""
        if event_type is not None and (endpoint := self._endpoints.get(event_type)) is not None:
            return endpoint
        return self._default

    # ------------------------------------------------------------------ as an App

    async def __call__(self, context: Context) -> None:
        """Run the endpoint for the context's record; `context.outcome` says what became of it."""
        message = context.message
        if not message.event_type_set:
            message.event_type = read_type(context, TYPE_HEADER)
        endpoint = self.find(message.event_type)
        context.slot.route = endpoint
        if endpoint is None:
            context.outcome = unmatched(message.event_type, tombstone=message.value is None)
        elif message.value is None and message.decoded_value_cb is None and not endpoint.resolve().admits_none:
            context.slot.route = None
            context.outcome = Unmatched("tombstone", message.event_type)
        else:
            context.outcome = as_outcome(await endpoint.run(context))


def read_type(context: Context, header: str) -> str | None:
    """The record's type by this header, the first one counts; else the type of all records of its topic."""
    for name, value in context.message.headers:
        if name == header:
            return value.decode(errors="replace") if value is not None else None
    return context.topic_event_type


def unmatched(event_type: str | None, *, tombstone: bool) -> Unmatched:
    if tombstone:
        return Unmatched("tombstone", event_type)
    return Unmatched("no_type" if event_type is None else "no_endpoint", event_type)


def as_outcome(returned: object) -> Outcome | None:
    """What an endpoint returned, where it is an outcome; a bare class counts as its instance."""
    match returned:
        case Skip() | Retry() | DeadLetter():
            return returned
        case type() if issubclass(returned, Skip | Retry | DeadLetter):
            return returned()
        case _:
            return None


def _seconds(timeout_ms: int | None, event_type: str) -> float | None:
    if timeout_ms is None:
        return None
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int) or timeout_ms <= 0:  # type: ignore[redundant-expr]
        raise ConfigError(f"timeout_ms of event type {event_type!r} is a positive number of ms, not {timeout_ms!r}")
    return timeout_ms / 1000
