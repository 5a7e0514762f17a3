"""What an endpoint's `Depends` need: read at registration, into calls in order; made and ended around each attempt."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal

from evkafka.context import Context, Request
from evkafka.depends import Depends
from evkafka.endpoints.signature import (
    VARIADIC,
    Function,
    Parameter,
    depends_of,
    element,
    is_async,
    is_list,
    name_of,
    parameters_of,
    request_class,
    resolved,
    shown,
    unpartial,
    yields,
    yields_async,
)
from evkafka.endpoints.threads import to_the_end_in_thread
from evkafka.runtime.ports import Slot
from evkafka.serde.annotations import NotYetDefined

ALLOWED = (
    "A dependency takes the Request and dependencies of its own, by annotation, never the payload: "
    "`async def open_session(request: Request, engine: Annotated[Engine, Depends(get_engine)])`"
)

Kind = Literal["coroutine", "async generator", "generator", "in thread"]


class DependencyFault(TypeError):
    """A dependency cannot be one; the sentence says why, and what is allowed."""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """What one function takes, and how it is called.

    Attributes:
        requests: parameter -> the class of the request, and whether all of a batch are asked for.
        dependencies: parameter -> what it is made by.
    """

    kind: Kind
    requests: Mapping[str, tuple[type[Request[Any]], bool]]
    dependencies: Mapping[str, Depends]


@dataclass(frozen=True, slots=True)
class Step:
    """One call. `values` says which earlier step's value each of its parameters gets."""

    function: Function
    taken: FunctionCall
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """All calls, each behind those that it needs. `values` says which step's value an endpoint's parameter gets."""

    steps: Sequence[Step]
    values: Mapping[str, int]


# ---------------------------------------------------------------------------- reading


def take(function: Function, names: Mapping[str, Any] | None, *, batch: bool) -> FunctionCall:
    """Read a dependency's signature.

    Raises:
        NotYetDefined: an annotation refers to a name that does not exist so far.
        TypeError: it has a parameter that nothing fills; the sentence says which.
    """
    requests: dict[str, tuple[type[Request[Any]], bool]] = {}
    dependencies: dict[str, Depends] = {}
    for parameter in parameters_of(function):
        if parameter.kind in VARIADIC:
            continue  # a call need not fill it
        optional = parameter.default is not Parameter.empty
        try:
            annotation = resolved(parameter, function, names)
        except NotYetDefined:
            if optional and "Depends" not in str(parameter.annotation):
                continue
            raise
        if (depends := depends_of(parameter, annotation)) is not None:
            dependencies[parameter.name] = depends
        elif (asked := _request_of(parameter, annotation, batch=batch)) is not None:
            requests[parameter.name] = asked
        elif not optional:
            what = "has no annotation" if annotation is Parameter.empty else "is neither the Request nor a dependency"
            raise TypeError(f"its parameter {parameter.name!r} {what}")
    return FunctionCall(_kind(function), requests, dependencies)


def _request_of(parameter: Parameter, annotation: Any, *, batch: bool) -> tuple[type[Request[Any]], bool] | None:
    name, many = parameter.name, is_list(annotation)
    asked = request_class(element(name, annotation) if many else annotation)
    if asked is None:
        return None
    if many and not batch:
        raise TypeError(f"its parameter {name!r} is a list of Requests, and the endpoint takes no batches")
    if parameter.kind is Parameter.POSITIONAL_ONLY:
        raise TypeError(f"its parameter {name!r} is positional-only: a dependency's parameters are given by name")
    return asked, many


def _kind(function: Function) -> Kind:
    """A wrapper made with functools.wraps is called as what it wraps; a class as a plain function."""
    if isinstance(unpartial(function), type):
        return "in thread"
    wrapped = inspect.unwrap(unpartial(function))
    if yields_async(wrapped):
        return "async generator"
    if yields(wrapped):
        return "generator"
    return "coroutine" if is_async(function) or is_async(wrapped) else "in thread"


class Dependencies:
    """The dependencies of one endpoint.

    Raises:
        NotYetDefined: an annotation refers to a name that does not exist so far.
        DependencyFault: one of them cannot be a dependency.
    """

    def __init__(self, asked: Mapping[str, Depends], names: Mapping[str, Any] | None, *, batch: bool) -> None:
        self._asked = asked
        self._batch = batch
        self._taken: dict[Function, FunctionCall] = {}
        self._plan = self._compile({}, names)
        self._overridden: tuple[dict[Function, Function], Plan] = ({}, self._plan)

    def plan(self, overrides: Mapping[Function, Function]) -> Plan:
        """The calls, with these functions instead of those. Raises as the class does, for what is new."""
        if not overrides:
            return self._plan
        if self._overridden[0] != overrides:
            now = dict(overrides)  # a test may change it from another thread
            self._overridden = (now, self._compile(now, None))
        return self._overridden[1]

    # ------------------------------------------------------------------ into calls in order

    def _compile(self, overrides: Mapping[Function, Function], names: Mapping[str, Any] | None) -> Plan:
        steps: list[Step] = []
        shared: dict[Function, int] = {}

        def of_all(asked: Mapping[str, Depends], path: tuple[Function, ...]) -> dict[str, int]:
            return {parameter: of_one(depends, path) for parameter, depends in asked.items()}

        def of_one(depends: Depends, path: tuple[Function, ...]) -> int:
            key = depends.dependency
            if depends.use_cache and key in shared:
                return shared[key]
            if key in path:
                raise DependencyFault(f"{_chain((*path, key))} is a cycle. {ALLOWED}")
            function = overrides.get(key, key)
            path = (*path, key)
            taken = self._take(function, path, names)
            steps.append(Step(function, taken, of_all(taken.dependencies, path)))
            if depends.use_cache:
                shared[key] = len(steps) - 1
            return len(steps) - 1

        values = of_all(self._asked, ())
        return Plan(tuple(steps), values)

    def _take(self, function: Function, path: tuple[Function, ...], names: Mapping[str, Any] | None) -> FunctionCall:
        if function not in self._taken:
            what = f"dependency {shown(function)}"
            try:
                if not callable(function):
                    raise TypeError("an override is a function that gives the value: write `lambda: value`")
                self._taken[function] = take(function, names, batch=self._batch)
            except NotYetDefined as error:
                raise NotYetDefined(error.name, f"the annotations of its {what}") from error
            except TypeError as error:
                way = f", by way of {_chain(path)}" if len(path) > 1 else ""
                raise DependencyFault(f"its {what}{way}: {error}. {ALLOWED}") from error
        return self._taken[function]


def _chain(path: Sequence[Function]) -> str:
    return " -> ".join(map(name_of, path))


# ---------------------------------------------------------------------------- around an attempt


async def make(plan: Plan, slot: Slot, contexts: Sequence[Context], ends: AsyncExitStack) -> dict[str, Any]:
    """Carry out the plan; returns what the endpoint's parameters get.

    Args:
        contexts: the record's, or those of all records of a batch.
        ends: gets what is to be done at the end of the attempt.
    """
    made: list[Any] = []
    for step in plan.steps:
        arguments = {parameter: made[index] for parameter, index in step.values.items()}
        for parameter, (cls, many) in step.taken.requests.items():
            arguments[parameter] = [cls(context) for context in contexts] if many else cls(contexts[0])
        call = functools.partial(step.function, **arguments)
        match step.taken.kind:
            case "coroutine":
                value = await call()
            case "in thread":
                value = await to_the_end_in_thread(slot, call)
            case "async generator":
                value = await _Yielding(call).enter(ends)
            case "generator":
                value = await _YieldingInThread(call, slot).enter(ends)
        made.append(value)
    return {parameter: made[index] for parameter, index in plan.values.items()}


as_manager = contextlib.contextmanager(lambda yielding: yielding)
as_async_manager = contextlib.asynccontextmanager(lambda yielding: yielding)


class _Yielding:
    """An async generator. It may be decorated as a context manager already."""

    def __init__(self, call: Callable[[], Any]) -> None:
        made = call()
        self._manager = made if hasattr(made, "__aenter__") else as_async_manager(made)

    async def enter(self, ends: AsyncExitStack) -> Any:
        value = await self._manager.__aenter__()
        ends.push_async_exit(self._exit)
        return value

    async def _exit(self, *raised: Any) -> bool:
        """Never answers that the exception is dealt with: the endpoint has failed, and the dependencies around this
        one must hear of it, too, lest they commit what belongs to a record that will be tried again."""
        await self._manager.__aexit__(*raised)
        return False


class _YieldingInThread:
    """A generator. Both of its parts run in one context, so that it can reset the variables that it sets."""

    def __init__(self, call: Callable[[], Any], slot: Slot) -> None:
        self._call = call
        self._slot = slot
        self._context = contextvars.copy_context()
        self._manager: Any = None

    async def enter(self, ends: AsyncExitStack) -> Any:
        # Pushed first: where the attempt is cut while the thread opens it, it is open when the thread comes back.
        ends.push_async_exit(self._exit)
        return await to_the_end_in_thread(self._slot, functools.partial(self._context.run, self._open))

    def _open(self) -> Any:
        made = self._call()
        manager = made if hasattr(made, "__enter__") else as_manager(made)
        value = manager.__enter__()
        self._manager = manager
        return value

    async def _exit(self, *raised: Any) -> bool:
        """As of an async one."""
        if self._manager is not None:
            leave = functools.partial(self._context.run, self._manager.__exit__, *raised)
            await to_the_end_in_thread(self._slot, leave)
        return False
