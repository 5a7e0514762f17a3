"""Handlers: the endpoint of each event type."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from evkafka.config.arguments import is_nonempty_text, is_whole_number, str_subclass_to_str
from evkafka.config.keys import ErrorPolicy
from evkafka.context import Context
from evkafka.endpoints.batch import join_batch_and_await_result
from evkafka.endpoints.endpoint import Endpoint, EndpointOptions
from evkafka.endpoints.signature import local_names
from evkafka.exceptions import ConfigError, DecodeError
from evkafka.outcomes import DeadLetter, Outcome, Retry, Skip, Unmatched
from evkafka.records import Record
from evkafka.runtime.ports import BatchLimits
from evkafka.serde.formats.consumer_formats import ConsumerFormats

F = TypeVar("F", bound=Callable[..., Any])

TYPE_HEADER = "Event-Type"


class Handler:
    """Endpoints by event type. Several consumers may have the same handler.

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
            event_type: the value of the record's `Event-Type` header.
            summary, description, tags: for the AsyncAPI document; the description defaults to the docstring.
            on_error: the event type's own error policy, merged key by key over the consumer's.
            timeout_ms: the event type's own time limit for one attempt; default: `max_endpoint_exec_time_ms`.
            concurrency: the maximum number of attempts of this event type at once in one consumer; default: only the
                consumer's limit.
            batch: it takes `list[Payload]` (and may take `list[Request]`): records of one partition, in order.
            max_records: the maximum number of records in a batch.
            max_wait_ms: how long the first record of a batch waits for more.

        Raises:
            ConfigError: the signature is not an endpoint's, an option is out of range, or the event type has an
                endpoint already.
            RuntimeError: the app has started.
        """
        if not is_nonempty_text(event_type):
            raise ConfigError(f'an event type is a non-empty string, not {event_type!r}: write @handler.event("Name")')
        event_type = str_subclass_to_str(event_type)
        where = f"event type {event_type!r}"
        timeout_s = _check_timeout_ms_and_convert_to_s(timeout_ms, where)
        _check_concurrency(concurrency, where)
        limits = _check_and_create_batch_limits(max_records, max_wait_ms, where) if batch else None
        options = EndpointOptions(summary, description, tuple(tags or ()), on_error, timeout_s, concurrency, limits)
        return self._create_decorator(event_type, options)

    def default(
        self,
        *,
        on_error: ErrorPolicy | None = None,
        timeout_ms: int | None = None,
        concurrency: int | None = None,
    ) -> Callable[[F], F]:
        """Declare the endpoint for all records that no other endpoint handles, including those without a type.

        Args:
            on_error, timeout_ms, concurrency: as for `event`.

        Raises:
            ConfigError: the signature is not an endpoint's, or there is a default already.
            RuntimeError: the app has started.
        """
        timeout_s = _check_timeout_ms_and_convert_to_s(timeout_ms, "the default endpoint")
        _check_concurrency(concurrency, "the default endpoint")
        return self._create_decorator(
            None, EndpointOptions(on_error=on_error, timeout_s=timeout_s, concurrency=concurrency)
        )

    def _create_decorator(self, event_type: str | None, options: EndpointOptions) -> Callable[[F], F]:
        def declare(function: F) -> F:
            self._add_to_self_and_including_handlers([Endpoint(function, event_type, options, local_names())])
            return function

        return declare

    def include_handler(self, other: Handler) -> None:
        """Include the endpoints of another handler, those declared before this call and after it.

        Raises:
            ConfigError: an event type would have two endpoints, or it is this handler itself.
            RuntimeError: the app has started.
        """
        if not isinstance(other, Handler):
            raise ConfigError(f"include_handler takes a Handler, not {other!r}")
        if other is self:
            raise ConfigError("a handler cannot include itself")
        self._add_to_self_and_including_handlers(other.endpoints)
        if self not in other._included_in:
            other._included_in.append(self)

    def freeze(self) -> None:
        """Resolve the endpoints, and refuse further ones. Called when the app starts.

        Raises:
            ConfigError: annotations cannot be resolved; all of them in one error.
        """
        faults = []
        for endpoint in self.endpoints:
            try:
                endpoint.resolve_decoder()
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("\n".join(faults))
        self._frozen = True

    def _add_to_self_and_including_handlers(self, endpoints: Collection[Endpoint]) -> None:
        """Add them to this handler and to all that include it: to every one of them, or to none."""
        handlers = self._self_and_handlers_including_it()
        for handler in handlers:
            handler._check_can_add(endpoints)
        for handler in handlers:
            for endpoint in endpoints:
                if endpoint.is_default:
                    handler._default = endpoint
                else:
                    handler._endpoints[endpoint.event_type] = endpoint

    def _self_and_handlers_including_it(self) -> list[Handler]:
        """This handler and those that include it, directly or through others. Handlers may include each other."""
        handlers = [self]
        for handler in handlers:
            handlers += [other for other in handler._included_in if other not in handlers]
        return handlers

    def _check_can_add(self, endpoints: Collection[Endpoint]) -> None:
        if self._frozen:
            raise RuntimeError("the app has started: endpoints must be declared before it starts")
        for endpoint in endpoints:
            known = self._default if endpoint.is_default else self._endpoints.get(endpoint.event_type)
            if known is not None and known is not endpoint:
                what = "a handler" if endpoint.is_default else f"event type {endpoint.event_type!r}"
                raise ConfigError(
                    f"{what} has two {'default ' if endpoint.is_default else ''}endpoints: {known.name} and"
                    f" {endpoint.name}; a record goes to one endpoint only: call the second function from the first"
                )

    # ------------------------------------------------------------------ look-up

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints, the default one last."""
        return (*self._endpoints.values(), *([self._default] if self._default is not None else []))

    def find_endpoint(self, event_type: str | None) -> Endpoint | None:
        """The endpoint for an event type, or the default one."""
        if event_type is not None and (endpoint := self._endpoints.get(event_type)) is not None:
            return endpoint
        return self._default

    # ------------------------------------------------------------------ as an App

    async def __call__(self, context: Context) -> None:
        """Run the endpoint for the context's record, and set `context.outcome`."""
        message = context.message
        if not message.event_type_set:
            message.event_type = read_event_type_of_record(context, TYPE_HEADER)
        event_type = message.event_type
        endpoint = self.find_endpoint(event_type)
        context.slot.route = endpoint
        if endpoint is None:
            check_record_schema_is_known(context.record, context.slot.formats, event_type)
            context.outcome = unmatched_outcome(event_type, tombstone=message.value is None)
        elif message.value is None and not endpoint.resolve_decoder().admits_none:
            context.slot.route = None
            context.outcome = Unmatched("tombstone", event_type)
        elif endpoint.batch is not None:
            context.outcome = as_outcome(await join_batch_and_await_result(endpoint, context))
        else:
            context.outcome = as_outcome(await endpoint.run(context))


def read_event_type_of_record(context: Context, header: str) -> str | None:
    """The event type in the record's first header of this name; without one, its topic's event type."""
    for name, value in context.message.headers:
        if name == header:
            if value is None:
                break
            return value.decode(errors="replace")
    return context.topic_event_type


def check_record_schema_is_known(record: Record, formats: ConsumerFormats | None, event_type: str | None) -> None:
    """Check that a record without an endpoint is not one whose schema, and so its type, is unknown.

    Raises:
        DecodeError: its value cannot be decoded.
    """
    fault = formats.undecodable_error(record) if formats is not None and event_type is None else None
    if fault is not None:
        raise DecodeError(
            f"the value of {record.topic}[{record.partition}]@{record.offset}, which has no type header: {fault}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )


def unmatched_outcome(event_type: str | None, *, tombstone: bool) -> Unmatched:
    if tombstone:
        return Unmatched("tombstone", event_type)
    return Unmatched("no_type" if event_type is None else "no_endpoint", event_type)


def as_outcome(returned: object) -> Outcome | None:
    """The returned value if it is an outcome, else None. An outcome's class stands for an instance of it."""
    match returned:
        case None:
            return None
        case Skip() | Retry() | DeadLetter():
            return returned
        case type() if issubclass(returned, Skip | Retry | DeadLetter):
            return returned()
        case _:
            return None


def _check_timeout_ms_and_convert_to_s(timeout_ms: int | None, where: str) -> float | None:
    if timeout_ms is None:
        return None
    _check_positive(timeout_ms, "timeout_ms", where, what="a positive number of ms")
    return timeout_ms / 1000


def _check_concurrency(concurrency: int | None, where: str) -> None:
    if concurrency is not None:
        _check_positive(concurrency, "concurrency", where)


def _check_and_create_batch_limits(max_records: int, max_wait_ms: int, where: str) -> BatchLimits:
    _check_positive(max_records, "max_records", where)
    if not is_whole_number(max_wait_ms):
        raise ConfigError(f"max_wait_ms of {where} is a number of ms, not {max_wait_ms!r}")
    return BatchLimits(max_records, max_wait_ms / 1000)


def _check_positive(value: int, name: str, where: str, *, what: str = "a positive whole number") -> None:
    if not is_whole_number(value, least=1):
        raise ConfigError(f"{name} of {where} is {what}, not {value!r}")
