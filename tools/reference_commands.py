"""The reference page of the command line, generated from the commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evkafka.cli.main import command_line

HEAD = """# Commands

Each command, its arguments, its flags, and each flag's twin in the environment.
[Command line](../command-line.md) shows them at work.
"""


def page() -> str:
    """The text of the page."""
    return HEAD + "".join(part for path, one in _leaves(command_line(), ()) for part in _command(path, one))


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", {})
    for name, one in sorted(below.items()):
        yield from _leaves(one, (*path, name))
    if not below:
        yield path, command


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join(["evkafka", *path, *(one.metavar or one.name.upper() for one in arguments)])
    yield f"\n## `evkafka {' '.join(path)}`\n\n```text\n{usage}{' [OPTIONS]' if options else ''}\n```\n\n"
    yield f"{_paragraphs(command.help)}\n"
    if arguments:
        yield "\n| argument | | twin |\n| --- | --- | --- |\n"
        yield from (f"| `{one.metavar or one.name}` | {_cell(one.help)} | {_variable(one)} |\n" for one in arguments)
    if options:
        yield "\n| flag | | default | twin |\n| --- | --- | --- | --- |\n"
        yield from (f"| {_flags(one)} | {_cell(one.help)} | {_default(one)} | {_variable(one)} |\n" for one in options)


def _flags(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])


def _default(option: Any) -> str:
    default = option.default() if callable(option.default) else option.default
    if isinstance(option.show_default, str):
        return option.show_default
    if default is None or default is False or not isinstance(default, (bool, int, float, str, Path)):
        return ""
    return "yes" if default is True else f"`{getattr(default, 'value', default)}`"


def _variable(parameter: Any) -> str:
    return f"`{parameter.envvar}`" if parameter.envvar else ""


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
