"""The reference page of the command line, generated from the commands."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evkafka.cli.options import AppOptions, ClusterOptions, OutputOptions, ProcessOptions
from evkafka.cli.typer_app import create_cli_click_command
from tools.command_examples import first_example_of
from tools.table_cells import cell

HEAD = """# Commands

Every command with its arguments and options. [Command line](../command-line.md) explains how to use them. Options
that several commands share are listed first, environment variables [last](#environment-variables).
"""

SHARED_HEAD = """
## Shared options

A command's section says which of these it takes too.
"""

VARIABLES_HEAD = """
## Environment variables

Each option can be set by an environment variable; the option on the command line wins. A switch takes `1` or `0`.

| variable | option | command |
| --- | --- | --- |
"""

OPTIONS_HEAD = "\n| option | meaning | default |\n| --- | --- | --- |\n"


_TYPES = {"text": "TEXT", "str": "TEXT", "integer": "N", "int": "N", "integer range": "N", "float range": "N"}
"""What a value is called if its option has no name for it; Click and Typer have different names for a type."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Options that several commands share.

    Attributes:
        parameters: their names, as Click has them.
        shown_by: the command whose texts the table shows.
    """

    title: str
    parameters: frozenset[str]
    shown_by: tuple[str, ...]

    @property
    def link(self) -> str:
        return f"[{self.title.lower()}](#{self.title.lower().replace(' ', '-')})"


def _option_names(options: Any, *without: str) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(options)) - {*without}


# In this order: the options of the cluster include those of the app.
SHARED = (
    Shared("Cluster options", _option_names(ClusterOptions), ("tail",)),
    Shared("App options", _option_names(AppOptions, "target"), ("check",)),
    Shared("Process options", _option_names(ProcessOptions), ("run",)),
    Shared("Output options", _option_names(OutputOptions), ("run",)),
)


def page() -> str:
    """The text of the page."""
    root = create_cli_click_command()
    leaves = dict(_all_commands(root, ()))
    parts = [HEAD, *_format_overview(root, leaves), SHARED_HEAD, *_format_shared_tables(leaves)]
    for path, command in leaves.items():
        parts += _format_command(path, command)
    return "".join([*parts, VARIABLES_HEAD, *_format_variables(leaves)])


def _all_commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", {})
    for name, one in sorted(below.items()):
        yield from _all_commands(one, (*path, name))
    if not below:
        yield path, command


def _format_overview(root: Any, leaves: Mapping[tuple[str, ...], Any]) -> Iterator[str]:
    """A list of the panels that `evkafka -h` shows, with their commands."""
    panels: dict[str, list[str]] = {str(one.rich_help_panel): [] for one in root.commands.values()}
    for path in leaves:
        name = " ".join(path)
        panels[str(root.commands[path[0]].rich_help_panel)].append(f"[`{name}`](#evkafka-{name.replace(' ', '-')})")
    yield "\n"
    yield from (f"- {panel}: {', '.join(links)}\n" for panel, links in panels.items())


# ---------------------------------------------------------------------------- options


def _options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option" and one.name != "help"]


def _shared_by(command: Any) -> list[Shared]:
    left = {one.name for one in _options(command)}
    found = []
    for shared in SHARED:
        if shared.parameters <= left:
            left -= shared.parameters
            found.append(shared)
    return found


def _format_shared_tables(leaves: Mapping[tuple[str, ...], Any]) -> Iterator[str]:
    for shared in SHARED:
        yield f"\n### {shared.title}\n"
        options = [one for one in _options(leaves[shared.shown_by]) if one.name in shared.parameters]
        yield from _format_option_table(options)


def _format_option_table(options: Sequence[Any]) -> Iterator[str]:
    if options:
        yield OPTIONS_HEAD
        yield from (f"| {_flags(one)} | {cell(one.help)} | {_default(one)} |\n" for one in options)


def _flags(option: Any) -> str:
    flags = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {_metavar(option)}"
    return ", ".join(f"`{flag}{value if flag == max(option.opts, key=len) else ''}`" for flag in flags)


def _metavar(option: Any) -> str:
    if option.metavar:
        return str(option.metavar)
    kind = option.type if hasattr(option, "type") else option.type_descriptor  # newer typer
    if choices := getattr(kind, "choices", None):
        return "/".join(str(getattr(one, "value", one)) for one in choices)
    name = str(kind.name if hasattr(kind, "name") else kind.annotation)
    return "N" if "int" in name or "float" in name else "TEXT"


def _default(option: Any) -> str:
    default = option.default() if callable(option.default) else option.default
    if isinstance(option.show_default, str):
        return str(option.show_default)
    if default is None or default is False or not isinstance(default, (bool, int, float, str, Path)):
        return ""
    return "yes" if default is True else f"`{getattr(default, 'value', default)}`"


# ---------------------------------------------------------------------------- one command


def _format_command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = _options(command)
    shared = _shared_by(command)
    own = [one for one in options if not any(one.name in group.parameters for group in shared)]
    usage = " ".join(["evkafka", *path, *(_format_argument(one) for one in arguments)])
    yield f"\n## `evkafka {' '.join(path)}`\n\n{_format_paragraphs(command.help)}\n"
    yield f"\n```text\n{usage}{' [OPTIONS]' if options else ''}\n```\n"
    yield from _format_example(path)
    if arguments:
        yield "\n| argument | meaning |\n| --- | --- |\n"
        yield from (f"| `{_format_argument(one)}` | {cell(one.help)} |\n" for one in arguments)
    yield from _format_option_table(own)
    if shared:
        yield f"\nAlso: {', '.join(group.link for group in shared)}.\n"


def _format_argument(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _format_example(path: tuple[str, ...]) -> Iterator[str]:
    if (example := first_example_of(path)) is not None:
        yield f"\nExample, from [this page](../{example.page}):\n"
        yield f"\n```text\n$ {example.line}\n{example.output}```\n"


def _format_paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


# ---------------------------------------------------------------------------- environment variables


def _format_variables(leaves: Mapping[tuple[str, ...], Any]) -> Iterator[str]:
    """A row for each variable. One that belongs to many commands says so once."""
    flags: dict[str, str] = {}
    commands: dict[str, list[str]] = defaultdict(list)
    for path, command in leaves.items():
        for one in command.params:
            if one.envvar and one.name != "help":
                flag = one.opts[0] if one.param_type_name == "argument" else max(one.opts, key=len)
                flags.setdefault(one.envvar, _format_argument(one) if one.param_type_name == "argument" else flag)
                commands[one.envvar].append(f"`{' '.join(path)}`")
    for variable in sorted(flags):
        yield f"| `{variable}` | `{flags[variable]}` | {', '.join(commands[variable])} |\n"
