"""The console command `evkafka`. It is outside of the package evkafka because importing that package takes most of a
command's start, and a process may be asked to stop during that time."""

from __future__ import annotations

import sys

from evkafka_command.startup_signals import stop_quietly_until_started


def main() -> None:
    """The console entry point. Always ends with SystemExit."""
    if sys.argv[1:2] == ["run"]:
        stop_quietly_until_started()
    from evkafka.cli import main as evkafka

    evkafka()
