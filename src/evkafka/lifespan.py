"""The user's lifespan: what is set up before the first record and torn down after the last."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from evkafka.exceptions import ConfigError

Lifespan = Callable[[], AbstractAsyncContextManager[Mapping[str, Any] | None]]


@asynccontextmanager
async def no_lifespan() -> AsyncIterator[Mapping[str, Any]]:
    """What an app without a lifespan has: an empty state."""
    yield {}


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
