"""Middleware: classes around the handler. A stack lists the outermost one first, and is built once per consumer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, ParamSpec, Protocol

from evkafka.config.arguments import is_nonempty_text
from evkafka.context import App, Context
from evkafka.endpoints.signature import unwrap_partials
from evkafka.exceptions import ConfigError
from evkafka.handler import TYPE_HEADER, read_event_type_of_record

__all__ = ["JsonTypedDecoderMiddleware", "Middleware", "build_stack", "type_header_name_of_stack"]

P = ParamSpec("P")


class Factory(Protocol[P]):
    """A middleware class: its arguments are the next app, then its options."""

    def __call__(self, app: App, /, *args: P.args, **kwargs: P.kwargs) -> App: ...


class Middleware:
    """A middleware class with its options. It is instantiated when the app starts.

    Args:
        cls: its arguments are the next app, then the options; its instances are called with the `Context`.
    """

    def __init__(self, cls: Factory[P], *args: P.args, **options: P.kwargs) -> None:
        self.cls: Any = cls
        self.args: tuple[Any, ...] = args
        self.options: dict[str, Any] = dict(options)
        self._was_created = False
        self._type_header_name: str | None = None

    @property
    def type_header_name(self) -> str | None:
        """The header that it reads the event type from; None if it is not a `JsonTypedDecoderMiddleware`.

        Only an instance knows it: a subclass may have a constructor of its own. It is that of the last instance. Before
        the first one, as in a command that does not start the app, a subclass is instantiated for this question (if
        that fails, its constructor's argument of this name counts, or the class attribute); a function is not called.

        Raises:
            ConfigError: it cannot be created with its options.
        """
        if not (self._was_created or self._is_typed_decoder_class()):
            return None
        if not self._was_created:
            try:
                self.wrap(_do_nothing)
            except ConfigError:
                raise
            except Exception:  # it needs what only a start has, such as the event loop
                return self._type_header_name_of_constructor()
        return self._type_header_name

    def wrap(self, app: App) -> App:
        try:
            wrapped: App = self.cls(app, *self.args, **self.options)
        except TypeError as error:
            raise ConfigError(f"middleware {self._class_name()} cannot be created with its options: {error}") from error
        if not callable(wrapped):
            raise ConfigError(f"middleware {self._class_name()} needs `async def __call__(self, context)`")
        self._was_created = True
        self._type_header_name = wrapped.type_header_name if isinstance(wrapped, JsonTypedDecoderMiddleware) else None
        return wrapped

    def _is_typed_decoder_class(self) -> bool:
        cls = unwrap_partials(self.cls)
        return isinstance(cls, type) and issubclass(cls, JsonTypedDecoderMiddleware)

    def _type_header_name_of_constructor(self) -> str:
        """What the constructor gets as `type_header_name`, its default included."""
        cls: Any = unwrap_partials(self.cls)
        of_partial = self.cls.keywords if isinstance(self.cls, functools.partial) else {}
        call = inspect.signature(cls).bind(_do_nothing, *self.args, **{**of_partial, **self.options})
        call.apply_defaults()
        given = call.arguments | call.kwargs  # those of `**options` too
        name = given.get("type_header_name", cls.type_header_name)
        return name if isinstance(name, str) else TYPE_HEADER

    def _class_name(self) -> str:
        return str(getattr(self.cls, "__qualname__", self.cls))

    def __repr__(self) -> str:
        return f"Middleware({self._class_name()})"


async def _do_nothing(context: Context) -> None: ...


class JsonTypedDecoderMiddleware:
    """The default middleware: the event type from a header, the value as JSON.

    It does not set `decoded_value_cb`: payloads are decoded from the bytes in one pass.

    Args:
        type_header_name: the header that contains the event type. The first one of this name counts.
    """

    type_header_name: str = TYPE_HEADER

    def __init__(self, app: App, type_header_name: str = TYPE_HEADER) -> None:
        if not is_nonempty_text(type_header_name):
            raise ConfigError(f"type_header_name is the name of a header, not {type_header_name!r}")
        self.app = app
        self.type_header_name = type_header_name

    async def __call__(self, context: Context) -> None:
        message = context.message
        message.event_type = read_event_type_of_record(context, self.type_header_name)
        await self.app(context)


DEFAULT_STACK = (Middleware(JsonTypedDecoderMiddleware),)
"""The stack of a consumer that is given none."""


def build_stack(app: App, middleware: Sequence[Middleware]) -> App:
    """Wrap the app, the first of the list outermost.

    Raises:
        ConfigError: an item of the list is not a Middleware, or cannot be instantiated.
    """
    for layer in reversed(middleware):
        if not isinstance(layer, Middleware):
            raise ConfigError(f"{layer!r} in the middleware list is not a Middleware: write Middleware(cls, **options)")
        app = layer.wrap(app)
    return app


def type_header_name_of_stack(middleware: Sequence[Middleware] | None) -> str:
    """The header that a stack reads the event type from: that of its innermost `JsonTypedDecoderMiddleware`; without
    one, `Event-Type`.

    Raises:
        ConfigError: a middleware cannot be created with its options.
    """
    names = (layer.type_header_name for layer in reversed(middleware or ()))
    return next((name for name in names if name is not None), TYPE_HEADER)
