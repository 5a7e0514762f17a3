"""Step 4 of 7: endpoints. A signature is read once, and what it asks for is compiled into a call."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from evkafka.codec import Decoder, decode_fault, decoder_for
from evkafka.context import Context, Request
from evkafka.exceptions import ConfigError, DecodeError
from evkafka.ports import Record, Slot

ALLOWED = (
    "An endpoint takes one payload, typed dict, str, bytes, a pydantic model or anything that pydantic can validate, "
    "and may take one Request, by annotation: `async def on_order(order: Order, request: Request) -> None`"
)


class Endpoint:
    """A function of the user's and what was declared about it.

    Attributes:
        event_type: what it takes; None for a handler's default endpoint.
        payload: the payload's annotation.
        on_error, timeout_s: the event type's own policy and time limit, None for the consumer's.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        event_type: str | None,
        *,
        summary: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        on_error: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.function = function
        self.name = _name(function)
        self._event_type = event_type
        self.summary = summary
        self.description = description if description is not None else inspect.getdoc(function)
        self.tags = tuple(tags or ())
        self.on_error = on_error
        self.timeout_s = timeout_s
        self.threaded = not _is_async(function)
        self.payload: Any = None
        self.decoder: Decoder | None = None
        self._payload_name = ""
        self._by_name = False
        self._request_name: str | None = None
        self._read_signature()

    @property
    def event_type(self) -> str:
        return self._event_type if self._event_type is not None else "default"

    # ------------------------------------------------------------------ reading the signature

    def _read_signature(self) -> None:
        """Find the payload and the request among the parameters. Names that do not exist yet wait for `resolve`."""
        try:
            hints = _hints(self.function)
        except NameError:
            self._count_parameters()
            return
        self._assign(hints)

    def resolve(self) -> Decoder:
        """The decoder, now that every name must exist.

        Raises:
            ConfigError: an annotation still cannot be resolved.
        """
        if self.decoder is None:
            try:
                hints = _hints(self.function)
            except NameError as error:
                raise ConfigError(
                    f"{self._shown()}: the annotation {error.name!r} does not exist where the endpoint is defined "
                    "(imported under TYPE_CHECKING only?). Import it for real: payloads are decoded by it"
                ) from error
            self._assign(hints)
        assert self.decoder is not None
        return self.decoder

    def _assign(self, hints: Mapping[str, Any]) -> None:
        payloads: list[str] = []
        for parameter in self._count_parameters():
            annotation = hints.get(parameter.name, parameter.annotation)
            if annotation is inspect.Parameter.empty:
                raise ConfigError(f"{self._shown()}: parameter {parameter.name!r} has no annotation. {ALLOWED}")
            if _is_request(annotation):
                if self._request_name is not None:
                    raise ConfigError(f"{self._shown()}: it takes two Requests. {ALLOWED}")
                self._request_name = parameter.name
            else:
                payloads.append(parameter.name)
        if len(payloads) != 1:
            what = "no payload" if not payloads else f"{len(payloads)} payloads ({', '.join(payloads)})"
            raise ConfigError(f"{self._shown()}: it takes {what}. {ALLOWED}")
        [self._payload_name] = payloads
        self._by_name = self._request_name is not None or self._is_keyword_only(self._payload_name)
        self.payload = hints.get(self._payload_name)
        try:
            self.decoder = decoder_for(self.payload)
        except TypeError as error:
            raise ConfigError(f"{self._shown()}: {error}. {ALLOWED}") from error

    def _count_parameters(self) -> list[inspect.Parameter]:
        """The parameters that a call must fill: at most two, none of them * or **."""
        parameters = []
        for parameter in inspect.signature(self.function).parameters.values():
            if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                if isinstance(self.function, functools.partial) or hasattr(self.function, "__wrapped__"):
                    continue
                raise ConfigError(f"{self._shown()}: it takes {parameter}. {ALLOWED}")
            if parameter.default is inspect.Parameter.empty or _is_request(parameter.annotation):
                parameters.append(parameter)
        if not 1 <= len(parameters) <= 2:
            raise ConfigError(f"{self._shown()}: it takes {len(parameters)} arguments. {ALLOWED}")
        return parameters

    def _shown(self) -> str:
        """The endpoint, as an error shows it."""
        function = inspect.unwrap(self.function)
        code = getattr(function, "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        return f"endpoint {self.name}{inspect.signature(self.function)}{where} for event type {self.event_type!r}"

    # ------------------------------------------------------------------ the compiled call

    def compile(self) -> Callable[[Record, Slot], Awaitable[object]]:
        """The direct way: from a record to the awaitable of the user's function, with nothing of ours in between."""
        decoder = self.resolve()
        decode, function = decoder.from_bytes, self.function
        if self.threaded:
            return self._compile_threaded(decode)
        if not self._by_name:

            def call(record: Record, slot: Slot) -> Awaitable[object]:
                value = record.value
                try:
                    payload = decode(value) if value is not None else None
                except (ValueError, RecursionError) as error:
                    raise self.decode_error(error, record) from error
                return function(payload)  # type: ignore[no-any-return]

            return call

        def call_by_name(record: Record, slot: Slot) -> Awaitable[object]:
            payload = self._payload_of(record, decode)
            request = self._request(record, slot) if self._request_name is not None else None
            return self._invoke(payload, request)  # type: ignore[no-any-return]

        return call_by_name

    def _compile_threaded(self, decode: Callable[[bytes], Any]) -> Callable[[Record, Slot], Awaitable[object]]:
        def call(record: Record, slot: Slot) -> Awaitable[object]:
            payload = self._payload_of(record, decode)
            request = self._request(record, slot) if self._request_name is not None else None
            return in_thread(slot, functools.partial(self._invoke, payload, request))

        return call

    def _payload_of(self, record: Record, decode: Callable[[bytes], Any]) -> Any:
        value = record.value
        try:
            return decode(value) if value is not None else None
        except (ValueError, RecursionError) as error:
            raise self.decode_error(error, record) from error

    def _request(self, record: Record, slot: Slot) -> Request[Any]:
        context = Context(record, slot)
        context.message.event_type = self._event_type
        return Request(context)

    async def run(self, context: Context) -> object:
        """The way through a stack of one's own: the payload is what the middleware left in the context."""
        payload = await self._payload_from(context)
        request: Request[Any] | None = Request(context) if self._request_name is not None else None
        if self.threaded:
            return await in_thread(context.slot, functools.partial(self._invoke, payload, request))
        return await self._invoke(payload, request)

    async def _payload_from(self, context: Context) -> Any:
        decoder = self.resolve()
        message = context.message
        try:
            if message.decoded_value_cb is not None and decoder.from_object is not None:
                return decoder.from_object(await message.decoded_value_cb())
            return decoder.from_bytes(message.value) if message.value is not None else None
        except (ValueError, RecursionError) as error:
            raise self.decode_error(error, context.record) from error

    def _invoke(self, payload: Any, request: Request[Any] | None) -> Any:
        """Call the function; by name where the order of payload and request could matter."""
        if not self._by_name:
            return self.function(payload)
        if self._request_name is None:
            return self.function(**{self._payload_name: payload})
        return self.function(**{self._payload_name: payload, self._request_name: request})

    def _is_keyword_only(self, name: str) -> bool:
        return inspect.signature(self.function).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY

    def decode_error(self, error: BaseException, record: Record) -> DecodeError:
        expected = self.decoder.expected if self.decoder is not None else "payload"
        return DecodeError(
            f"{record.topic}[{record.partition}]@{record.offset} ({self.event_type}) is no {expected}, "
            f"which {self.name} asks for: {decode_fault(error)}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            event_type=self._event_type,
        )


def in_thread(slot: Slot, call: Callable[[], Any]) -> Awaitable[object]:
    """Run a plain function in the consumer's threads, in a copy of the caller's context.

    `slot.thread_future` is the call in the thread itself, which goes on also when the awaitable is cancelled.
    """
    pool: Executor | None = slot.threads
    run = functools.partial(contextvars.copy_context().run, call)
    if pool is None:
        return asyncio.get_running_loop().run_in_executor(None, run)
    slot.thread_future = pool.submit(run)
    return asyncio.wrap_future(slot.thread_future)


def _name(function: Callable[..., Any]) -> str:
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    module = getattr(inner, "__module__", None) or type(inner).__module__
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _is_request(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Request)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations, resolved, also of partials, bound methods and callable objects."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not (inspect.isfunction(inner) or inspect.ismethod(inner)) and callable(inner):
        inner = inner if inspect.isbuiltin(inner) else type(inner).__call__
    return typing.get_type_hints(inner, include_extras=True)
