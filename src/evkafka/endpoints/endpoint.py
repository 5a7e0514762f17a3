"""Endpoints, which step 4 of 7 calls. A function's signature is read once and compiled into a call."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evkafka.context import Context
from evkafka.endpoints.dependencies import Dependencies, DependencyFault, DependencyPlan, resolve_dependencies_and_call
from evkafka.endpoints.signature import (
    Function,
    Signature,
    is_async,
    is_generator,
    module_and_name_of_function,
    read_signature,
    signature_and_place,
    unwrap_partials,
    wraps_async,
)
from evkafka.endpoints.threads import run_in_thread, run_in_thread_to_the_end
from evkafka.exceptions import ConfigError, DecodeError
from evkafka.outcomes import BatchError, Failed
from evkafka.records import Record
from evkafka.runtime.failure_cause import classify_exception
from evkafka.runtime.ports import BatchLimits, Overrides, Slot, ThreadCall
from evkafka.serde.annotations import NotYetDefined
from evkafka.serde.decode_errors import decode_error_text
from evkafka.serde.decoding import DECODE_FAILURES, Decoder, decoder_for
from evkafka.serde.formats.consumer_formats import ConsumerFormats
from evkafka.serde.formats.interface import DecodeValue

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
"""Starts an attempt at a record of the endpoint's event type."""

TypeOf = Callable[[Record], str | None]
"""Gives a record's event type."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """The options of an endpoint's declaration; see `Handler.event`.

    Attributes:
        on_error, timeout_s: the event type's own policy and time limit, None for the consumer's.
        concurrency: most attempts at once in one consumer, None for no bound of its own.
        batch: set for a batch endpoint.
    """

    summary: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    on_error: Mapping[str, Any] | None = None
    timeout_s: float | None = None
    concurrency: int | None = None
    batch: BatchLimits | None = None


class Endpoint:
    """A function of the user's, with the options of its declaration.

    Args:
        event_type: None for a handler's default endpoint.
        names: the local names where it is declared, for annotations that are strings.

    Attributes:
        name: its name in logs and errors, `module.function`.
        event_type: the type of its records; `default` for a handler's default endpoint (`is_default`).
        payload_type: the payload's annotation, of a batch endpoint the annotation of its list's elements. None until
            `resolve_decoder` if it is not known at registration.
        threaded: True for a plain `def`, which runs in a thread.
        summary, description, tags, on_error, timeout_s, concurrency, batch: see `EndpointOptions`; the description
            defaults to the docstring.
    """

    def __init__(
        self,
        function: Function,
        event_type: str | None,
        options: EndpointOptions,
        names: Mapping[str, Any] | None,
    ) -> None:
        self.function = function
        self.name = module_and_name_of_function(function)
        self.event_type = event_type if event_type is not None else "default"
        self.is_default = event_type is None
        self.batch = options.batch
        self._check_callable()
        self.summary = options.summary
        self.description = options.description
        if self.description is None:
            self.description = inspect.getdoc(unwrap_partials(function))
        self.tags = options.tags
        self.on_error = options.on_error
        self.timeout_s = options.timeout_s
        self.concurrency = options.concurrency
        self.threaded = not is_async(function) and not wraps_async(function)
        self.payload_type: Any = None
        self._names = names
        self._signature: Signature | None = None
        self._dependencies: Dependencies | None = None
        self._decoder: Decoder | None = None
        self._alone: Callable[[Any], Awaitable[object]] | None = None
        with contextlib.suppress(NotYetDefined):  # it may be defined further down: `resolve_decoder` reads again
            self._read_function()

    def __repr__(self) -> str:
        return f"Endpoint({self.event_type!r}, {self.name})"

    @property
    def encoded_event_type(self) -> bytes:
        """The event type as records carry it in their header."""
        return self.event_type.encode(errors="surrogatepass")

    # ------------------------------------------------------------------ reading the signature

    def resolve_decoder(self) -> Decoder:
        """The payload's decoder. Reads the signature, if registration could not: by now every name must exist.

        Raises:
            ConfigError: a name in an annotation does not exist.
        """
        if self._decoder is None:
            try:
                self._read_function()
            except NotYetDefined as error:
                raise ConfigError(f"{self._describe_endpoint()}: {_undefined_name_text(error)}") from error
        assert self._decoder is not None
        return self._decoder

    def _read_function(self) -> None:
        try:
            signature = read_signature(self.function, self._names, batch=self.batch is not None)
            decoder = decoder_for(signature.payload)
            dependencies = self._read_dependencies(signature)
        except DependencyFault as error:
            raise ConfigError(f"{self._describe_endpoint()}: {error}") from error
        except TypeError as error:
            raise ConfigError(f"{self._describe_endpoint()}: {error}. {self._allowed_parameters_text}") from error
        if wraps_async(self.function) and not is_async(self.function):
            signature = _with_awaited_result(signature)
        self.payload_type, self._signature, self._decoder = signature.payload, signature, decoder
        self._dependencies = dependencies
        needs_more = self.threaded or self.batch is not None or dependencies is not None
        self._alone = None if needs_more else signature.plain
        self._names = None

    def _read_dependencies(self, signature: Signature) -> Dependencies | None:
        if not signature.dependencies:
            return None
        return Dependencies(signature.dependencies, self._names, batch=self.batch is not None)

    @property
    def _allowed_parameters_text(self) -> str:
        return ALLOWED if self.batch is None else ALLOWED_BATCH

    def _check_callable(self) -> None:
        if isinstance(self.function, type) or not callable(self.function):
            raise ConfigError(
                f"{self.function!r} cannot be an endpoint for event type {self.event_type!r}."
                f" {self._allowed_parameters_text}"
            )
        if is_generator(self.function):
            raise ConfigError(
                f"{self._describe_endpoint()}: it is a generator, so calling it runs nothing."
                f" {self._allowed_parameters_text}"
            )

    def _describe_endpoint(self) -> str:
        """The endpoint in an error: its name, signature and place."""
        return f"endpoint {signature_and_place(self.function)} for event type {self.event_type!r}"

    # ------------------------------------------------------------------ the compiled call

    def payload_call(self) -> Callable[[Any], Awaitable[object]] | None:
        """The endpoint as `payload -> its own coroutine`; None if its call needs more than the payload."""
        self.resolve_decoder()
        return self._alone

    def decoder_for_formats(self, formats: ConsumerFormats) -> DecodeValue:
        """The payload's decoder for a consumer whose values are not all JSON. Its topics decide."""
        decoder = self.resolve_decoder()
        return formats.decoder_of_endpoint(self, self.payload_type, decoder)

    def compile_call(self, type_of: TypeOf, overrides: Overrides, formats: ConsumerFormats | None = None) -> Call:
        """Compile `record -> the awaitable of the user's function`, with no coroutine of ours around it.

        Args:
            type_of: gives the event type of a default endpoint's record.
            overrides: gives the overrides of its dependencies.
            formats: of the consumer's topics; None if all values are JSON.
        """
        decode, signature, threaded = self.resolve_decoder().from_bytes, self._signature, self.threaded
        by_format = self.decoder_for_formats(formats) if formats is not None else None
        assert signature is not None
        request_class = signature.request
        function: Callable[[Any, Any], Awaitable[object]] = signature.call  # if `threaded`, its plain result
        own_type = None if self.is_default else self.event_type
        own_plan = self.dependency_plan({}) if self._dependencies is not None else None

        def call(record: Record, slot: Slot) -> Awaitable[object]:
            value = record.value
            try:
                payload = None if value is None else decode(value) if by_format is None else by_format(value, record)
            except DECODE_FAILURES as error:
                fault = self.to_decode_error(error, record)
            else:
                if request_class is None:
                    request = None
                else:  # positional arguments: keywords would cost 60 ns more
                    request = request_class(Context(record, slot, None, own_type or type_of(record)))
                if threaded:
                    return run_in_thread(slot, functools.partial(function, payload, request))
                return function(payload, request)
            raise fault

        def call_with_dependencies(record: Record, slot: Slot) -> Awaitable[object]:
            payload = self._decode_value(decode, record.value, record, by_format)
            slot.overrides, replaced = overrides, overrides()
            plan = self.dependency_plan(replaced) if replaced or own_plan is None else own_plan
            if request_class is None and not plan.takes_requests:
                return self._call_with_dependencies(plan, payload, None, (), slot)
            return self._call_function(payload, Context(record, slot, None, own_type or type_of(record)))

        return call if self._dependencies is None else call_with_dependencies

    def thread_call(
        self, type_of: TypeOf, formats: ConsumerFormats | None = None
    ) -> Callable[[Record, Slot], ThreadCall] | None:
        """Compile `record -> a call that decodes the value and calls the user's function`.

        None if the endpoint is not a plain `def` without dependencies.

        Args:
            type_of: gives the event type of a default endpoint's record.
            formats: as in `compile_call`.
        """
        decode, signature = self.resolve_decoder().from_bytes, self._signature
        by_format = self.decoder_for_formats(formats) if formats is not None else None
        assert signature is not None
        if not self.threaded or self.batch is not None or self._dependencies is not None:
            return None
        function, request_class = signature.call, signature.request
        own_type = None if self.is_default else self.event_type

        def call(record: Record, slot: Slot) -> Any:
            payload = self._decode_value(decode, record.value, record, by_format)
            if request_class is None:
                return function(payload, None)
            return function(payload, request_class(Context(record, slot, None, own_type or type_of(record))))

        return lambda record, slot: functools.partial(call, record, slot)

    def run(self, context: Context) -> Awaitable[object]:
        """Start an attempt at the end of a middleware stack: the payload is what the stack has set in the context."""
        decoder, message = self.resolve_decoder(), context.message
        if message.decoded_value_cb is not None and decoder.from_object is not None and message.value is not None:
            return self._decode_and_call(context)
        by_format = self.decoder_for_formats(context.slot.formats) if context.slot.formats is not None else None
        payload = self._decode_value(decoder.from_bytes, message.value, context.record, by_format)
        alone = self._alone
        return alone(payload) if alone is not None else self._call_function(payload, context)

    async def _decode_and_call(self, context: Context) -> object:
        return await self._call_function(await self.decode_payload(context), context)

    def _call_function(self, payload: Any, context: Context) -> Awaitable[object]:
        signature = self._signature
        assert signature is not None
        function: Callable[[Any, Any], Awaitable[object]] = signature.call  # if `threaded`, its plain result
        request = signature.request(context) if signature.request is not None else None
        if self._dependencies is not None:
            plan = self.dependency_plan(context.slot.overrides())
            return self._call_with_dependencies(plan, payload, request, [context], context.slot)
        if self.threaded:
            return run_in_thread(context.slot, functools.partial(function, payload, request))
        return function(payload, request)

    # ------------------------------------------------------------------ batches

    async def decode_payload(self, context: Context) -> Any:
        """Decode one record's payload, of what the middleware has set in its context.

        Raises:
            DecodeError: its value is not a payload of this endpoint.
            OSError: of the middleware's `decoded_value_cb`. A server that it asks does not answer: the value may be
                valid, so this is a failure like any other.
        """
        decoder, message = self.resolve_decoder(), context.message
        decode: Callable[[Any], Any] = decoder.from_bytes
        raw: Any = message.value
        if raw is None:
            return None
        if message.decoded_value_cb is not None and decoder.from_object is not None:
            decode, raw = (
                decoder.from_object,
                await self._await_value_decoded_by_middleware(message.decoded_value_cb, context.record),
            )
        elif context.slot.formats is not None:
            by_format, record = self.decoder_for_formats(context.slot.formats), context.record
            decode = lambda value: by_format(value, record)  # noqa: E731 - as the other decoders
        try:
            return decode(raw)
        except DECODE_FAILURES as error:
            fault = self.to_decode_error(error, context.record)
        raise fault

    async def _await_value_decoded_by_middleware(
        self, decoded_value: Callable[[], Awaitable[Any]], record: Record
    ) -> Any:
        """Await a middleware's `decoded_value_cb`. It is cancelled with its attempt."""
        try:
            return await decoded_value()
        except OSError:
            raise
        except Exception as error:
            fault = self.to_decode_error(error, record)
        raise fault

    def call_batch(self, payloads: list[Any], contexts: Iterable[Context], slot: Slot) -> Awaitable[object]:
        """Call a batch endpoint. The contexts are iterated only if it takes requests or has dependencies."""
        signature = self._signature
        assert signature is not None
        function: Callable[[Any, Any], Awaitable[object]] = signature.call  # if `threaded`, its plain result
        if self._dependencies is not None:
            contexts = list(contexts)
        requests = [signature.request(context) for context in contexts] if signature.request is not None else None
        if self._dependencies is not None:
            plan = self.dependency_plan(slot.overrides())
            return self._call_with_dependencies(plan, payloads, requests, list(contexts), slot)
        if self.threaded:
            return run_in_thread(slot, functools.partial(function, payloads, requests))
        return function(payloads, requests)

    # ------------------------------------------------------------------ dependencies

    @property
    def has_dependencies(self) -> bool:
        self.resolve_decoder()
        return self._dependencies is not None

    def dependency_plan(self, overrides: Mapping[Function, Function]) -> DependencyPlan:
        """Its dependencies, with these overrides.

        Raises:
            ConfigError: an override cannot be a dependency.
        """
        assert self._dependencies is not None
        try:
            return self._dependencies.plan(overrides)
        except NotYetDefined as error:
            raise ConfigError(f"{self._describe_endpoint()}: {_undefined_name_text(error)}") from error
        except DependencyFault as error:
            raise ConfigError(f"{self._describe_endpoint()}: {error}") from error

    def _call_with_dependencies(
        self, plan: DependencyPlan, payload: Any, request: Any, contexts: Sequence[Context], slot: Slot
    ) -> Awaitable[object]:
        """Make the dependencies, call the endpoint, close the dependencies. All of it is the attempt."""
        signature = self._signature
        assert signature is not None
        call = (
            functools.partial(signature.plain, payload)
            if signature.plain is not None
            else functools.partial(signature.call, payload, request)
        )
        if self.threaded:
            call = functools.partial(_run_in_thread, slot, call)
        if self.batch is not None:
            call = functools.partial(_call_and_return_batch_error, call)
        return resolve_dependencies_and_call(plan, slot, contexts, call, [])

    def _decode_value(
        self, decode: Callable[[Any], Any], value: bytes | None, record: Record, by_format: DecodeValue | None
    ) -> Any:
        """The payload of this value. `compile_call` and the dispatch repeat this where a call more would be noticed."""
        try:
            if value is None:
                return None
            return decode(value) if by_format is None else by_format(value, record)
        except DECODE_FAILURES as error:
            fault = self.to_decode_error(error, record)
        raise fault

    def to_decode_error(self, error: BaseException, record: Record) -> BaseException:
        """The exception to raise for one that a decoder raised: a `DecodeError`, whatever a validator raised.

        Outcomes, which a validator may raise too, and a lack of memory are returned unchanged.

        Raise it outside of the `except` block. Otherwise the original, which contains the value, is its context and
        gets into logs and dead letters.
        """
        return self._create_decode_error(error, record) if isinstance(classify_exception(error), Failed) else error

    def _create_decode_error(self, error: BaseException, record: Record) -> DecodeError:
        """Describes the fault in a record's value, without any part of the value."""
        decoder = self.resolve_decoder()
        return DecodeError(
            f"the value of {record.topic}[{record.partition}]@{record.offset} (event type {self.event_type!r}) is not"
            f" the {decoder.expected} that {self.name} expects: {decode_error_text(error, decoder.names())}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            event_type=None if self.is_default else self.event_type,
        )


def _undefined_name_text(error: NotYetDefined) -> str:
    return (
        f"{error.name!r} in {error.place} does not exist in the module that defines the function. Import it at runtime"
        " (not only under TYPE_CHECKING): it is needed to decode payloads and to find dependencies"
    )


def _run_in_thread(slot: Slot, call: Callable[..., Any], **values: Any) -> Awaitable[object]:
    return run_in_thread_to_the_end(slot, functools.partial(call, **values))


async def _call_and_return_batch_error(call: Callable[..., Awaitable[object]], **values: Any) -> object:
    """The other records of the batch are done, and dependencies must not roll back what was written for them: the error
    does not pass through their exits."""
    try:
        return await call(**values)
    except BatchError as error:
        return error


def _with_awaited_result(signature: Signature) -> Signature:
    """The signature of a plain wrapper around an async function: its result is awaited if it is awaitable."""

    def awaited(function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any, **values: Any) -> object:
            result = function(*arguments, **values)
            return await result if inspect.isawaitable(result) else result

        return call

    plain = awaited(signature.plain) if signature.plain is not None else None
    return dataclasses.replace(signature, plain=plain, call=awaited(signature.call))
