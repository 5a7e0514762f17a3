"""`Depends`: names the function that provides an endpoint's parameter."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evkafka.exceptions import ConfigError
from evkafka.serde.annotations import ALIASES

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, init=False)
class Depends:
    """Marks a parameter whose value a function provides, for each attempt.

        @handler.event("OrderPlaced")
        async def on_order(order: Order, session: Annotated[AsyncSession, Depends(open_session)]) -> None: ...

    The function may take a `Request` and other dependencies. An `async def` runs on the loop, anything else
    (a plain `def`, a class) in the consumer's threads. A function that yields, once, continues when the endpoint has
    ended, within the attempt and its time limit: an exception of the endpoint is raised at the `yield`; if the function
    raises, the attempt has failed.

    Args:
        dependency: the function; it is also the key in `app.dependency_overrides`.
        use_cache: share one value among all parameters of an attempt that have this dependency (default); False
            creates a separate value for this parameter.

    Raises:
        ConfigError: it is not callable, or not hashable.
    """

    dependency: Function
    use_cache: bool = True

    def __init__(self, dependency: Function, *, use_cache: bool = True) -> None:
        if not callable(dependency):
            raise ConfigError(
                f"Depends takes a function, not {dependency!r}: write Depends(open_session), without calling it"
            )
        try:
            hash(dependency)
        except TypeError as error:
            raise ConfigError(f"Depends needs a hashable function, and {dependency!r} is not: {error}") from error
        object.__setattr__(self, "dependency", dependency)
        object.__setattr__(self, "use_cache", use_cache)


def find_depends(parameter: inspect.Parameter, annotation: Any) -> Depends | None:
    """The `Depends` in a parameter's resolved annotation; None if there is none.

    Raises:
        TypeError: it is at a place where it has no effect, or there is more than one.
    """
    name, default = parameter.name, parameter.default
    if _is_depends(default):
        raise TypeError(f"its parameter {name!r} has a Depends as its default: {_usage_example(name)}")
    while isinstance(annotation, ALIASES):
        annotation = annotation.__value__
    if _is_depends(annotation):
        raise TypeError(f"its parameter {name!r} has Depends without a type: {_usage_example(name)}")
    if typing.get_origin(annotation) is not typing.Annotated:
        if any(_contains_depends(argument) for argument in typing.get_args(annotation)):
            raise TypeError(f"its parameter {name!r} has Depends inside another type: {_usage_example(name)}")
        return None
    found = [one for one in annotation.__metadata__ if _is_depends(one)]
    if len(found) > 1:
        raise TypeError(f"its parameter {name!r} has {len(found)} Depends; give exactly one")
    if found and not isinstance(found[0], Depends):
        raise TypeError(f"its parameter {name!r} has {_describe_mistake(found[0])}")
    return found[0] if found else None


def _contains_depends(annotation: Any) -> bool:
    """Whether a Depends is inside of the annotation. Type aliases are not followed: they may be recursive."""
    inner = getattr(annotation, "__metadata__", ())
    return any(map(_is_depends, inner)) or any(map(_contains_depends, typing.get_args(annotation)))


def _is_depends(one: object) -> bool:
    """Whether it is a `Depends`: ours, the class without parentheses, or another framework's, imported by mistake."""
    return isinstance(one, Depends) or one is Depends or type(one).__name__ == "Depends"


def _describe_mistake(one: object) -> str:
    if one is Depends:
        return "Depends without the function: write Depends(open_session)"
    return f"the Depends of {type(one).__module__}: import it from evkafka"


def _usage_example(name: str) -> str:
    return f"write {name}: Annotated[Session, Depends(open_session)]"
