"""All commands, in the order of the list that `evkafka --help` prints.

`commands/` has the options and the help of each. The module that does the work is imported when the command is called.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from evkafka.cli.commands import asyncapi, dlq, offsets, schemas, topics
from evkafka.cli.commands.broker import broker_command
from evkafka.cli.commands.check import check_command
from evkafka.cli.commands.demo import demo_command
from evkafka.cli.commands.dev import dev_command
from evkafka.cli.commands.info import print_versions_command
from evkafka.cli.commands.lag import lag_command
from evkafka.cli.commands.new import new_command
from evkafka.cli.commands.replay import replay_command
from evkafka.cli.commands.routes import routes_command
from evkafka.cli.commands.run import run_command
from evkafka.cli.commands.send import send_command
from evkafka.cli.commands.tail import tail_command
from evkafka.cli.commands.verify import verify_command
from evkafka.cli.env_vars import set_env_var_names
from evkafka.cli.exit_codes import call_for_exit_code
from evkafka.cli.options import INSPECT, OPERATE

app = typer.Typer(
    name="evkafka",
    help="Event-driven services on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (
    new_command,
    check_command,
    routes_command,
    print_versions_command,
    dev_command,
    run_command,
    send_command,
    tail_command,
    replay_command,
    lag_command,
    broker_command,
    demo_command,
    verify_command,
):
    _command.add_to(app)
app.add_typer(topics.app, rich_help_panel=OPERATE)
app.add_typer(offsets.app, rich_help_panel=OPERATE)
app.add_typer(asyncapi.app, rich_help_panel=INSPECT, short_help="Print an AsyncAPI document, or compare two.")
app.add_typer(schemas.app, rich_help_panel=INSPECT)
app.add_typer(dlq.app, rich_help_panel=OPERATE)


def run_command_line_for_exit_code() -> int:
    """Run the command line. Returns its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character does not end the command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return call_for_exit_code(create_cli_click_command())


def create_cli_click_command() -> Any:
    """All commands as one Click command; each option has its environment variable."""
    root = typer.main.get_command(app)
    set_env_var_names(root)
    return root


def _print_version(requested: bool) -> None:
    if not requested:
        return
    import platform
    from importlib.metadata import version

    print(f"evkafka {version('evkafka')} (aiokafka {version('aiokafka')}, Python {platform.python_version()})")
    raise typer.Exit


@app.callback()
def evkafka(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of `evkafka` itself."""
