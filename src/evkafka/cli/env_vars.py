"""The environment variable of each option: `--limit` of `evkafka tail` is EVKAFKA_TAIL_LIMIT.

Options that mean the same in every command declare a short name with `envvar` (EVKAFKA_LOG_LEVEL). The others are
named after their command: EVKAFKA_CONCURRENCY is a consumer's setting, and not that of `verify`.

Click's own `auto_envvar_prefix` names a variable after the Python parameter, which cannot be called `from`, `in` or
`type`, and gives variables to `--version` and `--install-completion` too.
"""

from __future__ import annotations

from typing import Any

PREFIX = "EVKAFKA"

_WITHOUT_VARIABLE = frozenset({"help", "version", "install_completion", "show_completion"})


def set_env_var_names(command: Any, path: tuple[str, ...] = ()) -> None:
    """Set the variable of each option that declares none, in this command and in its subcommands.

    Args:
        command: a Click command.
        path: the names of the groups that it is in, and its own.
    """
    for parameter in command.params:
        unnamed = parameter.param_type_name == "option" and parameter.envvar is None
        if unnamed and parameter.name not in _WITHOUT_VARIABLE:
            parameter.envvar = env_var_name(path, parameter.opts)
    for name, subcommand in getattr(command, "commands", {}).items():
        set_env_var_names(subcommand, (*path, name))


def env_var_name(path: tuple[str, ...], flags: list[str]) -> str:
    """The variable of `evkafka PATH --flag`: the longest flag counts."""
    long = max(flags, key=len).lstrip("-")
    return "_".join((PREFIX, *path, long)).replace("-", "_").upper()
