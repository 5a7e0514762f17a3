"""The command line: `evkafka`. Needs the extra `evkafka[cli]`.

Exit codes: 0 done or cleanly stopped, 1 failed while running, 2 usage or configuration, 3 could not start.
"""

from __future__ import annotations

import sys

from evkafka.service.standard_streams import open_standard_streams
from evkafka_command.startup_signals import stop_quietly_until_started

__all__ = ["main"]


def main() -> None:
    """The console entry point.

    Raises:
        SystemExit: always, with the exit code.
    """
    open_standard_streams()
    if sys.argv[1:2] == ["run"]:
        stop_quietly_until_started()
    try:
        import typer  # noqa: F401 - is the extra installed?
    except ImportError:
        print(
            "evkafka: the command line needs an extra that is not installed: pip install 'evkafka[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from evkafka.cli.typer_app import run_command_line_for_exit_code

    sys.exit(run_command_line_for_exit_code())
