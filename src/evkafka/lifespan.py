"""The user's lifespan: what is set up before the first record and torn down after the last."""

from __future__ import annotations

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
        ConfigError: it is not callable; the sentence shows how a lifespan is written.
    """
    if given is None:
        return no_lifespan
    if not callable(given):
        raise ConfigError(
            f"lifespan must be an async context manager factory without arguments, not {type(given).__name__}: "
            "write `@asynccontextmanager async def lifespan(): ... yield {...}` and give the function, uncalled"
        )
    return given


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
