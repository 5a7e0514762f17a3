"""Step 4 of 7: endpoints. A signature is read once, and what it asks for is compiled into a call."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from evkafka.context import Context
from evkafka.endpoints.dependencies import Dependencies, DependencyFault, Plan, make
from evkafka.endpoints.signature import (
    Function,
    Signature,
    is_async,
    is_generator,
    name_of,
    read_signature,
    shown,
    unpartial,
    wraps_async,
)
from evkafka.endpoints.threads import in_thread, to_the_end_in_thread
from evkafka.exceptions import ConfigError, DecodeError
from evkafka.outcomes import BatchError, Failed
from evkafka.records import Record
from evkafka.runtime.failure_cause import classify_exception
from evkafka.runtime.ports import BatchLimits, Slot
from evkafka.serde.annotations import NotYetDefined
from evkafka.serde.decode_errors import decode_fault
from evkafka.serde.decoding import DECODE_FAILURES, Decoder, decoder_for

ALLOWED = (
    "An endpoint takes one payload, typed dict, str, bytes, a pydantic model, a msgspec Struct, an attrs class or "
    "anything that pydantic can validate, and may take one Request, by annotation: "
    "`async def on_order(order: Order, request: Request) -> None`, and "
    "dependencies: `session: Annotated[Session, Depends(open_session)]`"
)

ALLOWED_BATCH = (
    "A batch endpoint takes a list of payloads and may take a list of Requests: "
    "`async def on_orders(orders: list[Order], requests: list[Request]) -> None`, and dependencies: "
    "`session: Annotated[Session, Depends(open_session)]`"
)

Call = Callable[[Record, Slot], Awaitable[object]]
"""One attempt at a record that has this endpoint's type."""

TypeOf = Callable[[Record], str | None]


class Endpoint:
    """A function of the user's and what was declared about it.

    Attributes:
        name: how logs and errors name it, `module.function`.
        event_type: what it takes; `default` for a handler's default endpoint (`is_default`).
        payload: the payload's annotation; None until `resolve` where it is not known at registration.
        threaded: True for a plain `def`, which runs in a thread.
        on_error, timeout_s: the event type's own policy and time limit, None for the consumer's.
        concurrency: most attempts at once in one consumer, None for no bound of its own.
        batch: set for a batch endpoint, whose `payload` is what stands in its lists.
    """

    def __init__(
        self,
        function: Function,
        event_type: str | None,
        *,
        summary: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        on_error: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        concurrency: int | None = None,
        batch: BatchLimits | None = None,
        names: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.name = name_of(function)
        self.event_type = event_type if event_type is not None else "default"
        self.is_default = event_type is None
        self.batch = batch
        self._check_kind()
        self.summary = summary
        self.description = description if description is not None else inspect.getdoc(unpartial(function))
        self.tags = tuple(tags or ())
        self.on_error = on_error
        self.timeout_s = timeout_s
        self.concurrency = concurrency
        self.threaded = not is_async(function) and not wraps_async(function)
        self.payload: Any = None
        self._names = names
        self._signature: Signature | None = None
        self._dependencies: Dependencies | None = None
        self._decoder: Decoder | None = None
        with contextlib.suppress(NotYetDefined):  # perhaps defined further down: `resolve` looks again at the start
            self._read()

    def __repr__(self) -> str:
        return f"Endpoint({self.event_type!r}, {self.name})"

    @property
    def raw_event_type(self) -> bytes:
        """The event type as records carry it in their header."""
        return self.event_type.encode(errors="surrogatepass")

    # ------------------------------------------------------------------ reading the signature

    def resolve(self) -> Decoder:
        """The decoder, now that every name must exist.

        Raises:
            ConfigError: a name in an annotation still does not exist.
        """
        if self._decoder is None:
            try:
                self._read()
            except NotYetDefined as error:
                raise ConfigError(f"{self._shown()}: {_undefined(error)}") from error
        assert self._decoder is not None
        return self._decoder

    def _read(self) -> None:
        try:
            signature = read_signature(self.function, self._names, batch=self.batch is not None)
            decoder = decoder_for(signature.payload)
            dependencies = self._read_dependencies(signature)
        except DependencyFault as error:
            raise ConfigError(f"{self._shown()}: {error}") from error
        except TypeError as error:
            raise ConfigError(f"{self._shown()}: {error}. {self._allowed}") from error
        if wraps_async(self.function) and not is_async(self.function):
            signature = _awaited(signature)
        self.payload, self._signature, self._decoder = signature.payload, signature, decoder
        self._dependencies = dependencies
        self._names = None

    def _read_dependencies(self, signature: Signature) -> Dependencies | None:
        if not signature.dependencies:
            return None
        return Dependencies(signature.dependencies, self._names, batch=self.batch is not None)

    @property
    def _allowed(self) -> str:
        return ALLOWED if self.batch is None else ALLOWED_BATCH

    def _check_kind(self) -> None:
        if isinstance(self.function, type) or not callable(self.function):
            raise ConfigError(f"{self.function!r} is no endpoint for event type {self.event_type!r}. {self._allowed}")
        if is_generator(self.function):
            raise ConfigError(f"{self._shown()}: it yields, so that a call of it runs nothing. {self._allowed}")

    def _shown(self) -> str:
        """The endpoint, as an error shows it: its name, signature and place."""
        return f"endpoint {shown(self.function)} for event type {self.event_type!r}"

    # ------------------------------------------------------------------ the compiled call

    def coroutine_of(self) -> Callable[[Any], Awaitable[object]] | None:
        """The endpoint as `payload -> its own coroutine`; None where it needs more than that to be run."""
        self.resolve()
        assert self._signature is not None
        return self._signature.plain if not self.threaded and self.batch is None else None

    def compile(self, type_of: TypeOf) -> Call:
        """The direct way from a record to the awaitable of the user's function, with no coroutine of ours around it.

        Args:
            type_of: tells a record's type, for the requests of a default endpoint.
        """
        decode, signature, threaded = self.resolve().from_bytes, self._signature, self.threaded
        assert signature is not None
        function, request_class = signature.call, signature.request
        own_type = None if self.is_default else self.event_type

        def call(record: Record, slot: Slot) -> Awaitable[object]:
            value = record.value
            try:
                payload = decode(value) if value is not None else None
            except DECODE_FAILURES as error:
                fault = self.decoding_fault(error, record)
            else:
                if request_class is None:
                    request = None
                else:  # by position: by keyword it would take 60 ns more
                    request = request_class(Context(record, slot, None, own_type or type_of(record)))
                if threaded:
                    return in_thread(slot, functools.partial(function, payload, request))
                return function(payload, request)  # type: ignore[no-any-return]
            raise fault

        def call_with_dependencies(record: Record, slot: Slot) -> Awaitable[object]:
            value = record.value
            try:
                payload = decode(value) if value is not None else None
            except DECODE_FAILURES as error:
                fault = self.decoding_fault(error, record)
            else:
                return self._invoke(payload, Context(record, slot, None, own_type or type_of(record)))
            raise fault

        return call if self._dependencies is None else call_with_dependencies

    def run(self, context: Context) -> Awaitable[object]:
        """The way through a stack of one's own: the payload is what the middleware left in the context."""
        decoder, message = self.resolve(), context.message
        if message.decoded_value_cb is not None and decoder.from_object is not None and message.value is not None:
            return self._run_decoded(context)
        try:
            payload = decoder.from_bytes(message.value) if message.value is not None else None
        except DECODE_FAILURES as error:
            fault = self.decoding_fault(error, context.record)
        else:
            return self._invoke(payload, context)
        raise fault

    async def _run_decoded(self, context: Context) -> object:
        return await self._invoke(await self.payload_of(context), context)

    def _invoke(self, payload: Any, context: Context) -> Awaitable[object]:
        signature = self._signature
        assert signature is not None
        request = signature.request(context) if signature.request is not None else None
        if self._dependencies is not None:
            return self._with_dependencies(payload, request, [context], context.slot)
        if self.threaded:
            return in_thread(context.slot, functools.partial(signature.call, payload, request))
        return signature.call(payload, request)  # type: ignore[no-any-return]

    # ------------------------------------------------------------------ batches

    async def payload_of(self, context: Context) -> Any:
        """One record's payload, out of what the middleware left in its context.

        Raises:
            DecodeError: its value is not a payload of this endpoint.
            OSError: the middleware's `decoded_value_cb` asked a server that does not answer, which is not the value's
                fault: the record fails like any other.
        """
        decoder, message = self.resolve(), context.message
        decode: Callable[[Any], Any] = decoder.from_bytes
        given: Any = message.value
        if given is None:
            return None
        if message.decoded_value_cb is not None and decoder.from_object is not None:
            decode, given = decoder.from_object, await self._decoded(message.decoded_value_cb, context.record)
        try:
            return decode(given)
        except DECODE_FAILURES as error:
            fault = self.decoding_fault(error, context.record)
        raise fault

    async def _decoded(self, decoded_value: Callable[[], Awaitable[Any]], record: Record) -> Any:
        """What a middleware's `decoded_value_cb` gives. It may be cancelled, with its attempt, while it waits."""
        try:
            return await decoded_value()
        except OSError:
            raise
        except Exception as error:
            fault = self.decoding_fault(error, record)
        raise fault

    def call_batch(self, payloads: list[Any], contexts: Iterable[Context], slot: Slot) -> Awaitable[object]:
        """The call of a batch endpoint; the contexts are asked for only where it takes requests."""
        signature = self._signature
        assert signature is not None
        if self._dependencies is not None:
            contexts = list(contexts)
        requests = [signature.request(context) for context in contexts] if signature.request is not None else None
        if self._dependencies is not None:
            return self._with_dependencies(payloads, requests, list(contexts), slot)
        if self.threaded:
            return in_thread(slot, functools.partial(signature.call, payloads, requests))
        return signature.call(payloads, requests)  # type: ignore[no-any-return]

    # ------------------------------------------------------------------ dependencies

    @property
    def has_dependencies(self) -> bool:
        self.resolve()
        return self._dependencies is not None

    def dependency_plan(self, overrides: Mapping[Function, Function]) -> Plan:
        """Its dependencies, with these overrides.

        Raises:
            ConfigError: an override cannot be a dependency.
        """
        assert self._dependencies is not None
        try:
            return self._dependencies.plan(overrides)
        except NotYetDefined as error:
            raise ConfigError(f"{self._shown()}: {_undefined(error)}") from error
        except DependencyFault as error:
            raise ConfigError(f"{self._shown()}: {error}") from error

    async def _with_dependencies(self, payload: Any, request: Any, contexts: Sequence[Context], slot: Slot) -> object:
        """Make them, call the endpoint, end them: all of it is the attempt."""
        signature = self._signature
        assert signature is not None
        async with contextlib.AsyncExitStack() as ends:
            made = await make(self.dependency_plan(slot.overrides()), slot, contexts, ends)
            call = functools.partial(signature.bind(functools.partial(self.function, **made)), payload, request)
            try:
                if self.threaded:
                    return await to_the_end_in_thread(slot, call)
                result = call()
                return await result if inspect.isawaitable(result) else result
            except BatchError as error:
                if self.batch is None:
                    raise
                # The records that it does not name are done: what was written for them must not be rolled back.
                return error

    def decoding_fault(self, error: BaseException, record: Record) -> BaseException:
        """What an exception out of a decoder means for its record: a `DecodeError`, whatever a validator raised.

        Outcomes, which a validator may raise too, and a lack of memory are themselves.

        To be raised outside of the `except` block: as its cause or context the original, which shows the value,
        would get into logs and dead letters.
        """
        return self._decode_error(error, record) if isinstance(classify_exception(error), Failed) else error

    def _decode_error(self, error: BaseException, record: Record) -> DecodeError:
        """Says what is wrong with a record's value, without anything out of it."""
        decoder = self.resolve()
        return DecodeError(
            f"the value of {record.topic}[{record.partition}]@{record.offset} (event type {self.event_type!r}) is not "
            f"the {decoder.expected} that {self.name} asks for: {decode_fault(error, decoder.names())}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            event_type=None if self.is_default else self.event_type,
        )


def _undefined(error: NotYetDefined) -> str:
    return (
        f"{error.name!r} in {error.place} does not exist where it is defined. "
        "Import it for real (not under TYPE_CHECKING only): payloads are decoded by it, dependencies are found by it"
    )


def _awaited(signature: Signature) -> Signature:
    """The signature of a plain wrapper around an async function: its result is awaited, where it can be."""

    async def call(payload: Any, request: Any) -> object:
        result = signature.call(payload, request)
        return await result if inspect.isawaitable(result) else result

    plain = functools.partial(call, request=None) if signature.plain is not None else None
    return dataclasses.replace(signature, plain=plain, call=call)
