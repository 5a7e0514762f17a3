"""An endpoint's dependencies: planned at registration as calls in order, made and closed around each attempt."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evkafka.context import Context, Request
from evkafka.depends import Depends
from evkafka.endpoints.signature import (
    Function,
    Parameter,
    depends_of,
    element_type,
    is_async,
    is_async_generator,
    is_list,
    is_plain_generator,
    module_and_name_of_function,
    parameters_of,
    parameters_with_annotations,
    request_class_in_annotation,
    signature_and_place,
    unwrap_partials,
)
from evkafka.endpoints.threads import run_in_thread_to_the_end
from evkafka.runtime.ports import Slot
from evkafka.serde.annotations import NotYetDefined

ALLOWED = (
    "A dependency may take the Request and other dependencies, by annotation, but not the payload: `async def"
    " open_session(request: Request, engine: Annotated[Engine, Depends(get_engine)])`"
)

Kind = Literal["coroutine", "async generator", "generator", "in thread"]


class DependencyFault(TypeError):
    """A function cannot be a dependency; the message says why, and what is allowed."""


@dataclass(frozen=True, slots=True)
class DependencySignature:
    """The arguments of a dependency, and how it is called.

    Attributes:
        requests: parameter -> the request's class, and whether the parameter is a list of the batch's requests.
        dependencies: parameter -> its `Depends`.
    """

    kind: Kind
    requests: Mapping[str, tuple[type[Request[Any]], bool]]
    dependencies: Mapping[str, Depends]


@dataclass(frozen=True, slots=True)
class Step:
    """One call. `values` maps each of its parameters to the earlier step that gives the value."""

    function: Function
    signature: DependencySignature
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DependencyPlan:
    """All calls, each after those that it needs. `values` maps each parameter of the endpoint to a step."""

    steps: Sequence[Step]
    values: Mapping[str, int]
    takes_requests: bool


# ---------------------------------------------------------------------------- signatures


def read_dependency(function: Function, names: Mapping[str, Any] | None, *, batch: bool) -> DependencySignature:
    """Read a dependency's signature.

    Raises:
        NotYetDefined: an annotation refers to a name that does not exist yet.
        TypeError: it has a parameter that cannot be passed; the message says which.
    """
    requests: dict[str, tuple[type[Request[Any]], bool]] = {}
    dependencies: dict[str, Depends] = {}
    for parameter, annotation in parameters_with_annotations(parameters_of(function), function, names):
        if (depends := depends_of(parameter, annotation)) is not None:
            dependencies[parameter.name] = depends
        elif (request := _request_type_of_parameter(parameter, annotation, batch=batch)) is not None:
            requests[parameter.name] = request
        elif parameter.default is Parameter.empty:
            what = "has no annotation" if annotation is Parameter.empty else "is neither the Request nor a dependency"
            raise TypeError(f"its parameter {parameter.name!r} {what}")
    return DependencySignature(_call_kind(function), requests, dependencies)


def _request_type_of_parameter(
    parameter: Parameter, annotation: Any, *, batch: bool
) -> tuple[type[Request[Any]], bool] | None:
    name, many = parameter.name, is_list(annotation)
    request = request_class_in_annotation(element_type(name, annotation) if many else annotation)
    if request is None:
        return None
    if many and not batch:
        raise TypeError(f"its parameter {name!r} is a list of Requests, but the endpoint is not a batch endpoint")
    if parameter.kind is Parameter.POSITIONAL_ONLY:
        raise TypeError(f"its parameter {name!r} is positional-only: a dependency's parameters are given by name")
    return request, many


def _call_kind(function: Function) -> Kind:
    """A wrapper by functools.wraps is called like the function that it wraps, a class like a plain function."""
    if isinstance(unwrap_partials(function), type):
        return "in thread"
    wrapped = inspect.unwrap(unwrap_partials(function))
    if is_async_generator(wrapped):
        return "async generator"
    if is_plain_generator(wrapped):
        return "generator"
    return "coroutine" if is_async(function) or is_async(wrapped) else "in thread"


class Dependencies:
    """The dependencies of one endpoint.

    Raises:
        NotYetDefined: an annotation refers to a name that does not exist yet.
        DependencyFault: one of them cannot be a dependency.
    """

    def __init__(self, depends: Mapping[str, Depends], names: Mapping[str, Any] | None, *, batch: bool) -> None:
        self._depends = depends
        self._batch = batch
        self._signatures: dict[Function, DependencySignature] = {}
        self._plan = self._compile_plan({}, names)
        self._overridden: tuple[dict[Function, Function], DependencyPlan] = ({}, self._plan)

    def plan(self, overrides: Mapping[Function, Function]) -> DependencyPlan:
        """The plan with these overrides. Raises as the constructor does, for a new override."""
        if not overrides:
            return self._plan
        if self._overridden[0] != overrides:
            copy = dict(overrides)  # a test may change the original from another thread
            self._overridden = (copy, self._compile_plan(copy, None))
        return self._overridden[1]

    def _compile_plan(self, overrides: Mapping[Function, Function], names: Mapping[str, Any] | None) -> DependencyPlan:
        steps: list[Step] = []
        shared: dict[Function, int] = {}

        def add_all(dependencies: Mapping[str, Depends], path: tuple[Function, ...]) -> dict[str, int]:
            return {parameter: add(depends, path) for parameter, depends in dependencies.items()}

        def add(depends: Depends, path: tuple[Function, ...]) -> int:
            """Append its step, after those that it needs, unless a step can be shared. Returns the step's index."""
            key = depends.dependency
            if depends.use_cache and key in shared:
                return shared[key]
            if key in path:
                raise DependencyFault(f"{_format_chain((*path, key))} is a dependency cycle. {ALLOWED}")
            function = overrides.get(key, key)
            path = (*path, key)
            signature = self._read_signature(function, path, names)
            steps.append(Step(function, signature, add_all(signature.dependencies, path)))
            if depends.use_cache:
                shared[key] = len(steps) - 1
            return len(steps) - 1

        values = add_all(self._depends, ())
        return DependencyPlan(tuple(steps), values, any(step.signature.requests for step in steps))

    def _read_signature(
        self, function: Function, path: tuple[Function, ...], names: Mapping[str, Any] | None
    ) -> DependencySignature:
        if function not in self._signatures:
            what = f"dependency {signature_and_place(function)}"
            try:
                if not callable(function):
                    raise TypeError("an override must be a function that returns the value: write `lambda: value`")
                self._signatures[function] = read_dependency(function, names, batch=self._batch)
            except NotYetDefined as error:
                raise NotYetDefined(error.name, f"the annotations of its {what}") from error
            except TypeError as error:
                route = f", reached through {_format_chain(path)}" if len(path) > 1 else ""
                raise DependencyFault(f"its {what}{route}: {error}. {ALLOWED}") from error
        return self._signatures[function]


def _format_chain(path: Sequence[Function]) -> str:
    return " -> ".join(map(module_and_name_of_function, path))


# ---------------------------------------------------------------------------- around an attempt


async def resolve_dependencies_and_call(
    plan: DependencyPlan,
    slot: Slot,
    contexts: Sequence[Context],
    call: Callable[..., Awaitable[object]],
    made: list[Any],
) -> object:
    """Call the dependencies in the plan's order, then the endpoint with their values, and close what was opened.

    What a dependency that yields has opened encloses all that follows, so it calls this function again.

    Args:
        contexts: the record's, or those of all records of a batch; not used if the plan takes no requests.
        call: calls the endpoint; its arguments are its dependencies, by name.
        made: the values of the plan's first steps.
    """
    for step in plan.steps[len(made) :]:
        function, signature = step.function, step.signature
        arguments: dict[str, Any] = {}
        for parameter, index in step.values.items():  # a comprehension would cost a call in Python 3.11
            arguments[parameter] = made[index]
        if signature.requests:
            arguments |= _request_arguments_of_dependency(signature, contexts)
        match signature.kind:
            case "coroutine":
                made.append(await function(**arguments))
            case "in thread":
                made.append(await run_in_thread_to_the_end(slot, functools.partial(function, **arguments)))
            case "async generator":
                async with _AsyncGenerator(function(**arguments)) as value:
                    return await resolve_dependencies_and_call(plan, slot, contexts, call, [*made, value])
            case "generator":
                async with _GeneratorInThread(functools.partial(function, **arguments), slot) as value:
                    return await resolve_dependencies_and_call(plan, slot, contexts, call, [*made, value])
    values: dict[str, Any] = {}
    for parameter, index in plan.values.items():
        values[parameter] = made[index]
    return await call(**values)


def _request_arguments_of_dependency(signature: DependencySignature, contexts: Sequence[Context]) -> dict[str, Any]:
    return {
        parameter: [cls(context) for context in contexts] if many else cls(contexts[0])
        for parameter, (cls, many) in signature.requests.items()
    }


as_manager = contextlib.contextmanager(lambda generator: generator)
as_async_manager = contextlib.asynccontextmanager(lambda generator: generator)
_ENDED = object()


class _AsyncGenerator:
    """A dependency that is an async generator, or one decorated as an async context manager.

    contextlib's manager is created only for an exception: it costs as much as all other calls of a dependency.
    """

    def __init__(self, made: Any) -> None:
        self._made = made

    async def __aenter__(self) -> Any:
        if hasattr(self._made, "__aenter__"):
            return await self._made.__aenter__()
        try:
            return await anext(self._made)
        except StopAsyncIteration:
            raise RuntimeError("generator didn't yield") from None

    async def __aexit__(self, *raised: object) -> None:
        """Never suppresses the exception. The endpoint has failed and its record will be tried again: the exception
        must also reach the dependencies around this one, or they would commit."""
        if hasattr(self._made, "__aexit__"):
            await self._made.__aexit__(*raised)
        elif raised[0] is not None:
            manager: Any = as_async_manager(self._made)
            await manager.__aexit__(*raised)
        elif await anext(self._made, _ENDED) is not _ENDED:
            await self._made.aclose()
            raise RuntimeError("generator didn't stop")


class _GeneratorInThread:
    """A dependency that is a plain generator. Both of its parts run in one context, so that it can reset the context
    variables that it sets."""

    def __init__(self, call: Callable[[], Any], slot: Slot) -> None:
        self._call = call
        self._slot = slot
        self._context = contextvars.copy_context()
        self._manager: Any = None

    async def __aenter__(self) -> Any:
        try:
            return await run_in_thread_to_the_end(
                self._slot, functools.partial(self._context.run, self._enter_generator)
            )
        except BaseException:  # the attempt was cancelled while the thread opened it: it is open now
            await self.__aexit__(*sys.exc_info())
            raise

    def _enter_generator(self) -> Any:
        made = self._call()
        manager = made if hasattr(made, "__enter__") else as_manager(made)
        value = manager.__enter__()
        self._manager = manager
        return value

    async def __aexit__(self, *raised: object) -> None:
        """Never suppresses the exception, like that of an async generator."""
        if self._manager is not None:
            leave = functools.partial(self._context.run, self._manager.__exit__, *raised)
            await run_in_thread_to_the_end(self._slot, leave)
