"""Handlers: event type -> endpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from evkafka.config.keys import ErrorPolicy
from evkafka.context import Context
from evkafka.endpoints.batch import run_in_batch
from evkafka.endpoints.endpoint import Endpoint
from evkafka.exceptions import ConfigError
from evkafka.outcomes import DeadLetter, Outcome, Retry, Skip, Unmatched
from evkafka.runtime.ports import BatchLimits

F = TypeVar("F", bound=Callable[..., Any])

TYPE_HEADER = "Event-Type"


class Handler:
    """Endpoints by event type. One handler may be given to several consumers.

    It is an `App` too: middleware wraps it, and calling it with a context runs the endpoint.
    """

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        self._default: Endpoint | None = None
        self._included_in: list[Handler] = []
        self._frozen = False

    # ------------------------------------------------------------------ declaring

    def event(
        self,
        event_type: str,
        summary: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        *,
        on_error: ErrorPolicy | None = None,
        timeout_ms: int | None = None,
        concurrency: int | None = None,
        batch: bool = False,
        max_records: int = 500,
        max_wait_ms: int = 100,
    ) -> Callable[[F], F]:
        """Declare the endpoint for an event type; the decorated function is returned unchanged.

        Args:
            event_type: what the record's `Event-Type` header says.
            summary, description, tags: for the contract document; the description defaults to the docstring.
            on_error: the event type's own error policy, laid over the consumer's key by key.
            timeout_ms: the event type's own time limit for one attempt; default: `max_endpoint_exec_time_ms`.
            concurrency: most attempts of this event type at once in one consumer; default: the consumer's bound alone.
            batch: it takes `list[Payload]` (and may take `list[Request]`): records of one partition, in order.
            max_records: most records in a batch.
            max_wait_ms: how long the first record of a batch waits for more.

        Raises:
            ConfigError: the signature is not an endpoint's, an option is out of its range, or the event type has an
                endpoint already.
            RuntimeError: the app has started.
        """
        if not isinstance(event_type, str) or not event_type:  # type: ignore[redundant-expr]
            raise ConfigError(f'an event type is a non-empty string, not {event_type!r}: write @handler.event("Name")')
        where = f"event type {event_type!r}"
        timeout_s, concurrency = _seconds(timeout_ms, where), _count(concurrency, "concurrency", where)
        limits = _batch_limits(max_records, max_wait_ms, where) if batch else None

        def declare(function: F) -> F:
            endpoint = Endpoint(
                function,
                event_type,
                summary=summary,
                description=description,
                tags=tags,
                on_error=on_error,
                timeout_s=timeout_s,
                concurrency=concurrency,
                batch=limits,
                names=_local_names(),
            )
            self._add([endpoint])
            return function

        return declare

    def default(
        self,
        *,
        on_error: ErrorPolicy | None = None,
        timeout_ms: int | None = None,
        concurrency: int | None = None,
    ) -> Callable[[F], F]:
        """Declare the endpoint that gets what no other takes, also records without a type.

        Args:
            on_error, timeout_ms, concurrency: as for `event`.

        Raises:
            ConfigError: the signature is not an endpoint's, or there is a default already.
            RuntimeError: the app has started.
        """

        where = "the default endpoint"
        timeout_s, concurrency = _seconds(timeout_ms, where), _count(concurrency, "concurrency", where)

        def declare(function: F) -> F:
            endpoint = Endpoint(
                function,
                None,
                on_error=on_error,
                timeout_s=timeout_s,
                concurrency=concurrency,
                names=_local_names(),
            )
            self._add([endpoint])
            return function

        return declare

    def include_handler(self, other: Handler) -> None:
        """Take over everything that the other handler declares, before this call and after it.

        Raises:
            ConfigError: an event type would have two endpoints, or it is this handler itself.
            RuntimeError: the app has started.
        """
        if not isinstance(other, Handler):
            raise ConfigError(f"include_handler takes a Handler, not {other!r}")
        if other is self:
            raise ConfigError("a handler cannot include itself")
        self._add(other.endpoints)
        if self not in other._included_in:
            other._included_in.append(self)

    def freeze(self) -> None:
        """The app starts: resolve what is declared, and take no more.

        Raises:
            ConfigError: annotations cannot be resolved; all of them in one error.
        """
        faults = []
        for endpoint in self.endpoints:
            try:
                endpoint.resolve()
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("\n".join(faults))
        self._frozen = True

    def _add(self, endpoints: Collection[Endpoint]) -> None:
        """Add to this handler and to all that include it: to every one of them, or to none."""
        takers = self._takers()
        for taker in takers:
            taker._check(endpoints)
        for taker in takers:
            for endpoint in endpoints:
                if endpoint.is_default:
                    taker._default = endpoint
                else:
                    taker._endpoints[endpoint.event_type] = endpoint

    def _takers(self) -> list[Handler]:
        """This handler and those that include it, through any number of others; handlers may include each other."""
        takers = [self]
        for taker in takers:
            takers += [one for one in taker._included_in if one not in takers]
        return takers

    def _check(self, endpoints: Collection[Endpoint]) -> None:
        if self._frozen:
            raise RuntimeError("the app has started: endpoints must be declared before")
        for endpoint in endpoints:
            known = self._default if endpoint.is_default else self._endpoints.get(endpoint.event_type)
            if known is not None and known is not endpoint:
                what = "a handler" if endpoint.is_default else f"event type {endpoint.event_type!r}"
                raise ConfigError(
                    f"{what} has two {'default ' if endpoint.is_default else ''}endpoints: {known.name} and "
                    f"{endpoint.name}; a record goes to one: let it call the other"
                )

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
        elif message.value is None and not endpoint.resolve().admits_none:
            context.slot.route = None
            context.outcome = Unmatched("tombstone", message.event_type)
        elif endpoint.batch is not None:
            context.outcome = as_outcome(await run_in_batch(endpoint, context))
        else:
            context.outcome = as_outcome(await endpoint.run(context))


def read_type(context: Context, header: str) -> str | None:
    """The record's type by this header, the first one counts; else the type of all records of its topic."""
    for name, value in context.message.headers:
        if name == header:
            if value is None:
                break
            return value.decode(errors="replace")
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


def _seconds(timeout_ms: int | None, where: str) -> float | None:
    _count(timeout_ms, "timeout_ms", where, what="a positive number of ms")
    return None if timeout_ms is None else timeout_ms / 1000


def _count(value: int | None, name: str, where: str, *, what: str = "a positive whole number") -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):  # type: ignore[redundant-expr]
        raise ConfigError(f"{name} of {where} is {what}, not {value!r}")
    return value


def _batch_limits(max_records: int, max_wait_ms: int, where: str) -> BatchLimits:
    _count(max_records, "max_records", where)
    if isinstance(max_wait_ms, bool) or not isinstance(max_wait_ms, int) or max_wait_ms < 0:  # type: ignore[redundant-expr]
        raise ConfigError(f"max_wait_ms of {where} is a number of ms, not {max_wait_ms!r}")
    return BatchLimits(max_records, max_wait_ms / 1000)


def _local_names() -> Mapping[str, Any] | None:
    """The local names where an endpoint is being registered, which postponed annotations may refer to."""
    frame = sys._getframe(2)  # past this function and `declare`: whoever applies the decorator
    return dict(frame.f_locals) if frame.f_locals is not frame.f_globals else None
