"""Reads an endpoint's signature, once at registration, and builds the call that passes its arguments.

Faults are TypeErrors. `endpoint.py` adds the endpoint's name and the allowed signatures to their message.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evkafka.context import Request
from evkafka.depends import Depends, find_depends
from evkafka.serde.annotations import NotYetDefined

Function = Callable[..., Any]
Parameter = inspect.Parameter

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments of an endpoint.

    Attributes:
        payload: the payload's annotation.
        request: the request's class, which may be a user's subclass; None if the endpoint takes no request.
        plain: the call with the payload, and the dependencies by name; None if the endpoint takes a request.
        call: the call with payload and request; if it takes a request, the dependencies are passed by name too.
        dependencies: parameter -> its `Depends`.
    """

    payload: Any
    request: type[Request[Any]] | None
    plain: Callable[..., Any] | None
    call: Callable[..., Any]
    dependencies: Mapping[str, Depends]


def read_signature(function: Function, names: Mapping[str, Any] | None, *, batch: bool = False) -> Signature:
    """Find payload, request and dependencies among the parameters, by annotation.

    Args:
        names: the local names where the endpoint is registered, for annotations that are strings.
        batch: its payload and request are lists; their element types are read.

    Raises:
        NotYetDefined: an annotation refers to a name that does not exist yet.
        TypeError: it is not an endpoint's signature; the message says why.
    """
    parameters = parameters_of(function)
    payloads: dict[str, Any] = {}
    requests: dict[str, type[Request[Any]]] = {}
    dependencies: dict[str, Depends] = {}
    for parameter, annotation in parameters_with_annotations(parameters, function, names):
        optional = parameter.default is not Parameter.empty
        if (depends := depends_of(parameter, annotation)) is not None:
            dependencies[parameter.name] = depends
            continue
        if batch and annotation is not Parameter.empty and not (optional and not is_list(annotation)):
            annotation = element_type(parameter.name, annotation)
        if (request := request_class_in_annotation(annotation)) is not None:
            requests[parameter.name] = request
        elif not optional:
            payloads[parameter.name] = annotation
    _check_payload_and_request(payloads, requests, parameters)
    [(payload_name, payload)] = payloads.items()
    request_name = next(iter(requests), None)
    by_position = _positional_parameters(parameters, payload_name, request_name)
    return Signature(
        payload,
        requests[request_name] if request_name is not None else None,
        _build_plain_call(function, payload_name, by_position) if request_name is None else None,
        _build_call(function, payload_name, request_name, by_position),
        dependencies,
    )


def local_names() -> Mapping[str, Any] | None:
    """The local names of the code that applies a decorator, for annotations that are strings; None in a module.

    To be called in the decorator itself: the frame above it is the one that applies it.
    """
    frame = sys._getframe(2)
    return dict(frame.f_locals) if frame.f_locals is not frame.f_globals else None


def parameters_of(function: Function) -> list[Parameter]:
    """A function's parameters.

    Raises:
        NotYetDefined: an annotation refers to a name that does not exist yet.
        TypeError: `inspect` cannot read them.
    """
    try:
        return list(inspect.signature(function).parameters.values())
    except NameError as error:  # from Python 3.14 on, annotations are evaluated here
        raise NotYetDefined(error.name or str(error)) from error
    except ValueError as error:
        raise TypeError("Python cannot determine its signature") from error


def parameters_with_annotations(
    parameters: Iterable[Parameter], function: Function, names: Mapping[str, Any] | None
) -> Iterator[tuple[Parameter, Any]]:
    """The parameters that a call can pass by name or position, with their resolved annotations.

    An optional parameter is left out if its annotation cannot be resolved, unless it may be a dependency.

    Raises:
        NotYetDefined, TypeError: as `read_signature`.
    """
    for parameter in parameters:
        if parameter.kind in VARIADIC:
            continue
        try:
            annotation = resolve_annotation(parameter, function, names)
        except NotYetDefined:
            if parameter.default is Parameter.empty or "Depends" in str(parameter.annotation):
                raise
        else:
            yield parameter, annotation


def _check_payload_and_request(
    payloads: Mapping[str, Any], requests: Mapping[str, type[Request[Any]]], parameters: list[Parameter]
) -> None:
    untyped = [name for name, annotation in payloads.items() if annotation is Parameter.empty]
    if len(requests) > 1:
        raise TypeError(f"it takes {len(requests)} Requests ({', '.join(requests)})")
    if len(payloads) > 1:
        raise TypeError(f"it takes {len(payloads)} payloads ({', '.join(payloads)})")
    if untyped:
        raise TypeError(f"its parameter {untyped[0]!r} has no annotation")
    if not payloads:
        starred = any(parameter.kind in VARIADIC for parameter in parameters)
        hint = "; is a decorator missing its functools.wraps?" if starred and not requests else ""
        raise TypeError(f"it takes no payload{hint}")


# ---------------------------------------------------------------------------- annotations


def depends_of(parameter: Parameter, annotation: Any) -> Depends | None:
    """The `Depends` of a parameter, which must be passable by keyword; None if it has none.

    Raises:
        NotYetDefined, TypeError: as `read_signature`.
    """
    try:
        depends = find_depends(parameter, annotation)
    except NameError as error:  # in a `type` alias
        raise NotYetDefined(error.name or str(annotation)) from error
    if depends is not None and parameter.kind is Parameter.POSITIONAL_ONLY:
        raise TypeError(f"its parameter {parameter.name!r} is positional-only: dependencies are given by name")
    return depends


def resolve_annotation(parameter: Parameter, function: Function, names: Mapping[str, Any] | None) -> Any:
    """The parameter's annotation, with every name in it resolved.

    Parameters are resolved one by one: annotations that are not needed, such as the return type, may be imported under
    TYPE_CHECKING only.

    Raises:
        NotYetDefined, TypeError: as `read_signature`.
    """
    if parameter.annotation is Parameter.empty:
        return Parameter.empty
    carrier = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return typing.get_type_hints(carrier, _global_names(function), dict(names or {}), include_extras=True)["it"]
    except (NameError, AttributeError) as error:  # AttributeError: of a module that is being imported
        raise NotYetDefined(error.name or parameter.annotation) from error
    except (SyntaxError, TypeError) as error:
        raise TypeError(f"its parameter {parameter.name!r} is annotated {parameter.annotation!r}: {error}") from error


def _global_names(function: Function) -> dict[str, Any]:
    """The global names of the module that defines it."""
    defined = unwrap_partials(function)
    if isinstance(defined, type):
        if defined.__module__ in sys.modules:
            return vars(sys.modules[defined.__module__])
        defined = vars(defined).get("__init__", defined)
    return getattr(innermost_function(defined), "__globals__", {})


def is_list(annotation: Any) -> bool:
    return annotation is list or typing.get_origin(annotation) is list


def element_type(name: str, annotation: Any) -> Any:
    """The element type of a batch endpoint's list."""
    if not is_list(annotation):
        raise TypeError(f"its parameter {name!r} is not a list: a batch endpoint takes lists")
    return typing.get_args(annotation)[0] if typing.get_args(annotation) else Any


def request_class_in_annotation(annotation: Any) -> type[Request[Any]] | None:
    """The Request class in an annotation, also in `Request[State]`, `Annotated[Request, ...]`, `Request | None`."""
    origin = typing.get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Request):
        return annotation
    if isinstance(origin, type) and issubclass(origin, Request):
        return origin
    if origin is typing.Annotated:
        return request_class_in_annotation(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return next((found for arm in typing.get_args(annotation) if (found := request_class_in_annotation(arm))), None)
    return None


# ---------------------------------------------------------------------------- calls


def _positional_parameters(parameters: list[Parameter], payload: str, request: str | None) -> list[str]:
    """Which of the two can be passed by position: those at the beginning, with no other parameter between them."""
    wanted = []
    for parameter in parameters:
        if parameter.kind not in POSITIONAL or parameter.name not in (payload, request):
            break
        wanted.append(parameter.name)
    unreachable = [p.name for p in parameters if p.kind is Parameter.POSITIONAL_ONLY and p.name in (payload, request)]
    if not set(unreachable) <= set(wanted):
        raise TypeError(f"its positional-only parameter {unreachable[0]!r} must come first")
    return wanted


def _build_plain_call(function: Function, payload: str, by_position: list[str]) -> Callable[..., Any]:
    if by_position:
        return function
    return lambda value, **values: function(**{payload: value}, **values)


def _build_call(function: Function, payload: str, request: str | None, by_position: list[str]) -> Callable[..., Any]:
    match by_position:
        case [first, _] if first == payload:
            return function
        case [_, _]:
            return lambda value, requests, **values: function(requests, value, **values)
        case [only] if request is None:
            return lambda value, _: function(value)
        case [only] if only == payload:
            return lambda value, requests, **values: function(value, **{str(request): requests}, **values)
        case [_]:
            return lambda value, requests, **values: function(requests, **{payload: value}, **values)
        case _ if request is None:
            return lambda value, _: function(**{payload: value})
        case _:
            return lambda value, requests, **values: function(**{payload: value, str(request): requests}, **values)


# ---------------------------------------------------------------------------- functions of all kinds


def unwrap_partials(function: Function) -> Function:
    """The function inside any `functools.partial`s."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def innermost_function(function: Function) -> Function:
    """The `def` inside partials, decorators, bound methods and callable objects."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.ismethod(function):
            function = function.__func__
        elif inspect.isroutine(function) or not callable(function):
            return function
        else:
            function = type(function).__call__


def is_async(function: Function) -> bool:
    """Whether a call returns a coroutine: it is an `async def`, or an object with an `async def __call__`."""
    function = unwrap_partials(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_dunder_call_of(function))


def wraps_async(function: Function) -> bool:
    """Whether it is a wrapper, by functools.wraps, around an async function."""
    return is_async(inspect.unwrap(unwrap_partials(function)))


def is_generator(function: Function) -> bool:
    return is_plain_generator(function) or is_async_generator(function)


def is_plain_generator(function: Function) -> bool:
    """Whether it is a plain function that yields."""
    function = unwrap_partials(function)
    return inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(_dunder_call_of(function))


def is_async_generator(function: Function) -> bool:
    """Whether it is an `async def` that yields."""
    function = unwrap_partials(function)
    return inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(_dunder_call_of(function))


def module_and_name_of_function(function: Function) -> str:
    """Its name in logs and errors, `module.function`."""
    function = unwrap_partials(function)
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def file_and_line(function: Function) -> str:
    """` (file:line)` of its definition, for errors; empty if it has no Python code."""
    code = getattr(innermost_function(function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""


def signature_and_place(function: Function) -> str:
    """Its name, signature, file and line, for an error about its declaration."""
    try:
        signature = str(inspect.signature(function))
    except (ValueError, TypeError, NameError):
        signature = "(...)"
    return f"{module_and_name_of_function(function)}{signature}{file_and_line(function)}"


def _dunder_call_of(function: Function) -> Any:
    return getattr(function, "__call__", None)  # noqa: B004 - its kind is inspected, not whether it exists
