"""A command of `evkafka`: a function, its help, and the groups of options that it takes."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption
from typer.models import ArgumentInfo


def command(name: str, *, panel: str | None = None, **settings: Any) -> Callable[[Callable[..., None]], Command]:
    """Make the function a command.

    Args:
        panel: the panel of the list of commands that shows it.
        settings: passed to `typer.Typer.command`.
    """
    return lambda function: Command(name, function, {"rich_help_panel": panel, "cls": HelpWithoutEnvVars, **settings})


class HelpWithoutEnvVars(TyperCommand):
    """A command whose help names one environment variable at its end instead of one under each option."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        options = [one for one in self.params if isinstance(one, TyperOption) and one.envvar]
        for option in options:
            option.show_envvar = False  # not earlier: errors about a value name its variable
        if options:
            example = next((one for one in options if not one.is_flag), options[0])
            footer = (
                f"Every option can be set by an environment variable: {max(example.opts, key=len)} by {example.envvar}."
                " The reference of the commands lists all of them."
            )
            self.epilog = "\n\n".join(filter(None, (self.epilog, footer)))
        super().format_help(ctx, formatter)


class Command:
    """A function that Typer can call.

    A parameter whose type is a dataclass is a group of options: Typer sees the fields of the dataclass as parameters,
    and the function receives an instance of it.
    """

    def __init__(self, name: str, function: Callable[..., None], settings: Mapping[str, Any]) -> None:
        signature = inspect.signature(function, eval_str=True)
        parameters = [one for parameter in signature.parameters.values() for one in _expand_option_group(parameter)]
        parameters.sort(key=lambda one: not _is_argument(one))
        self._name = name
        self._function = function
        self._settings = settings
        self._groups = {
            one.name: one.annotation for one in signature.parameters.values() if _is_option_group(one.annotation)
        }
        # Typer reads these, as it does of a function.
        self.__name__, self.__doc__ = function.__name__, function.__doc__
        self.__signature__ = signature.replace(parameters=parameters)
        self.__annotations__ = {one.name: one.annotation for one in parameters}

    def add_to(self, app: typer.Typer) -> None:
        app.command(self._name, **self._settings)(self)

    def __call__(self, **values: Any) -> None:
        for name, group in self._groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
        self._function(**values)


def _expand_option_group(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """The parameter itself, or one parameter for each field of the option group."""
    group = parameter.annotation
    if not _is_option_group(group):
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        return
    types = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(field.name, kind, default=default, annotation=types[field.name])


def _is_option_group(annotation: Any) -> bool:
    return dataclasses.is_dataclass(annotation)


def _is_argument(parameter: inspect.Parameter) -> bool:
    return any(isinstance(one, ArgumentInfo) for one in parameter.annotation.__metadata__)
