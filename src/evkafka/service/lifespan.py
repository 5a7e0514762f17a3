"""The user's lifespan, entered before the first record is read and left after the last one."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

from evkafka.exceptions import ConfigError
from evkafka.runtime.supervision.stacks import describe_where_raised

Lifespan = Callable[[], AbstractAsyncContextManager[Mapping[str, Any] | None]]


@asynccontextmanager
async def no_lifespan() -> AsyncIterator[Mapping[str, Any]]:
    """The lifespan of an app that has none of its own: an empty state."""
    yield {}


class BoundedLifespan:
    """A lifespan whose exit has a time limit.

    Args:
        left_s: gives the time that the exit may take, in seconds. Called when the exit begins.
        on_overdue: called if the limit is over and the exit was cancelled, with the line at which that happened.
    """

    def __init__(
        self,
        lifespan: AbstractAsyncContextManager[object],
        *,
        left_s: Callable[[], float],
        on_overdue: Callable[[str], object],
    ) -> None:
        self._lifespan = lifespan
        self._left_s = left_s
        self._on_overdue = on_overdue

    async def __aenter__(self) -> object:
        return await self._lifespan.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Leave it in the task that entered it, as task groups in a lifespan require."""
        left_s = self._left_s()
        limit = asyncio.timeout(left_s if left_s != math.inf else None)
        try:
            async with limit:
                return await self._lifespan.__aexit__(kind, error, traceback)
        except TimeoutError as overdue:
            if not limit.expired():
                raise  # a TimeoutError of the lifespan itself
            self._on_overdue(describe_where_raised(overdue.__cause__ or overdue))
            return None


def as_lifespan(lifespan: object) -> Lifespan:
    """Check that it can be called without arguments; None gives `no_lifespan`.

    Raises:
        ConfigError: it is not callable, or requires arguments; the message shows how to write a lifespan.
    """
    if lifespan is None:
        return no_lifespan
    if not callable(lifespan):
        raise ConfigError(
            f"lifespan must be an async context manager factory without arguments, not {type(lifespan).__name__}:"
            " write `@asynccontextmanager async def lifespan(): ... yield {...}` and pass the function without"
            " calling it"
        )
    if required := _list_required_parameters(lifespan):
        raise ConfigError(
            f"lifespan {getattr(lifespan, '__name__', lifespan)!r} asks for {', '.join(required)}; it is called "
            "without arguments (unlike Starlette's and FastAPI's): write `async def lifespan():`"
        )
    return lifespan


def _list_required_parameters(function: Callable[..., object]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have none
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]


def as_state(yielded: object) -> Mapping[str, Any]:
    """The state that requests copy, of the value that the lifespan yielded.

    Raises:
        ConfigError: it is neither None nor a mapping.
    """
    match yielded:
        case None:
            return {}
        case Mapping():
            return yielded
        case _:
            raise ConfigError(
                f"the lifespan yielded a {type(yielded).__name__}; yield a mapping (its names are readable as "
                "`request.state.NAME`) or nothing"
            )
