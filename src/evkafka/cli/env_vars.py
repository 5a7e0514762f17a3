"""Each flag's twin in the environment: `--limit` of `evkafka tail` is EVKAFKA_TAIL_LIMIT.

Flags that mean the same in every command have a short twin, given where they are declared (EVKAFKA_LOG_LEVEL). The
others are named by their command: EVKAFKA_CONCURRENCY is a consumer's setting, and not that of `verify`.
"""

from __future__ import annotations

from typing import Any

PREFIX = "EVKAFKA"

_OF_THE_SHELL = frozenset({"help", "version", "install_completion", "show_completion"})


def give_twins(command: Any, path: tuple[str, ...] = ()) -> None:
    """Give each option of this command, and of those below it, its twin where it has none.

    Args:
        command: as typer has made it.
        path: the command's own name and those of its groups.
    """
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.envvar is None and parameter.name not in _OF_THE_SHELL:
            parameter.envvar = twin(path, parameter.opts)
    for name, below in getattr(command, "commands", {}).items():
        give_twins(below, (*path, name))


def twin(path: tuple[str, ...], flags: list[str]) -> str:
    """The variable of `evkafka PATH --flag`."""
    long = max(flags, key=len).lstrip("-")
    return "_".join((PREFIX, *path, long)).replace("-", "_").upper()
