"""The user's lifespan: what is set up before the first record and torn down after the last."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

from evkafka.exceptions import ConfigError
from evkafka.runtime.supervision.stacks import describe_origin

Lifespan = Callable[[], AbstractAsyncContextManager[Mapping[str, Any] | None]]


@asynccontextmanager
async def no_lifespan() -> AsyncIterator[Mapping[str, Any]]:
    """What an app without a lifespan has: an empty state."""
    yield {}


class BoundedLifespan:
    """A lifespan whose exit has a bound.

    Args:
        left_s: how much time the exit has, in seconds. Asked when it begins.
        on_overdue: called with where it stood when the time was over and it was cancelled.
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
        """In the task that entered it, as task groups inside of a lifespan need it."""
        left_s = self._left_s()
        limit = asyncio.timeout(left_s if left_s != math.inf else None)
        try:
            async with limit:
                return await self._lifespan.__aexit__(kind, error, traceback)
        except TimeoutError as overdue:
            if not limit.expired():
                raise  # its own
            self._on_overdue(describe_origin(overdue.__cause__ or overdue))
            return None


def as_lifespan(given: object) -> Lifespan:
    """Check that this is a callable without arguments.

    Raises:
        ConfigError: it is not callable, or asks for arguments; the sentence shows how a lifespan is written.
    """
    if given is None:
        return no_lifespan
    if not callable(given):
        raise ConfigError(
            f"lifespan must be an async context manager factory without arguments, not {type(given).__name__}: "
            "write `@asynccontextmanager async def lifespan(): ... yield {...}` and give the function, uncalled"
        )
    if asked := _asked_for(given):
        raise ConfigError(
            f"lifespan {getattr(given, '__name__', given)!r} asks for {', '.join(asked)}; it is called without "
            "arguments (unlike Starlette's and FastAPI's): write `async def lifespan():`"
        )
    return given


def _asked_for(given: Callable[..., object]) -> list[str]:
    """The arguments that it cannot be called without."""
    try:
        parameters = inspect.signature(given).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have none
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in variadic]


def as_state(yielded: object) -> Mapping[str, Any]:
    """What the lifespan yielded, as the state that requests copy.

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
