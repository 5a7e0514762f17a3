"""The commands and their options. What a command does stands in a module of its own, imported when it is called."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from evkafka.cli.commands import asyncapi as contract
from evkafka.cli.commands import dlq
from evkafka.cli.commands import topics as administering
from evkafka.cli.commands.broker import broker_command
from evkafka.cli.commands.check import check_command
from evkafka.cli.commands.demo import demo_command
from evkafka.cli.commands.dev import dev_command
from evkafka.cli.commands.info import info_command
from evkafka.cli.commands.lag import lag_command
from evkafka.cli.commands.new import new_command
from evkafka.cli.commands.replay import replay_command
from evkafka.cli.commands.routes import routes_command
from evkafka.cli.commands.run import run_command
from evkafka.cli.commands.send import send_command
from evkafka.cli.commands.tail import tail_command
from evkafka.cli.commands.verify import verify_command
from evkafka.cli.env_vars import give_twins
from evkafka.cli.exit_codes import said_in_one_sentence
from evkafka.cli.options import DEVELOP, LOOK, OPERATE, RUN


def add_commands(app: typer.Typer) -> None:
    app.command(
        "new",
        short_help="Make a service to begin with.",
        epilog="Example: evkafka new billing",
        rich_help_panel=DEVELOP,
    )(new_command)
    app.command(
        "check",
        short_help="Would this app run here? With fixes.",
        epilog="Example: evkafka check shop.main:app --strict --json",
        rich_help_panel=RUN,
    )(check_command)
    app.command(
        "routes",
        short_help="Which event goes to which endpoint.",
        epilog="Example: evkafka routes shop.main:app",
        rich_help_panel=LOOK,
    )(routes_command)
    app.command("info", short_help="Versions, for reports of faults.", rich_help_panel=LOOK)(info_command)
    app.command(
        "dev",
        short_help="Run an app with a Kafka of its own, its topics, and reload.",
        epilog="Example: evkafka dev shop.main:app",
        rich_help_panel=DEVELOP,
    )(dev_command)
    app.command(
        "run",
        epilog="Example: evkafka run shop.main:app --workers 4 --log-format json",
        rich_help_panel=RUN,
    )(run_command)
    app.command(
        "send",
        short_help="Send events, checked by the app's endpoint.",
        rich_help_panel=DEVELOP,
        epilog="Examples: evkafka send orders '{\"id\": 1}' --type OrderPlaced --key 1 --app shop.main:app"
        " | evkafka send orders --file orders.jsonl --lines --type OrderPlaced --key-field id",
    )(send_command)
    app.command(
        "tail",
        short_help="Show what stands in a topic, and what comes.",
        rich_help_panel=LOOK,
        epilog="Example: evkafka tail orders --from 2h --type OrderPlaced --where status=new",
    )(tail_command)
    app.command(
        "replay",
        short_help="Run a piece of history through the app's handler.",
        rich_help_panel=OPERATE,
        epilog="Example: evkafka replay shop.main:app --topic orders --from 2h --dry-run",
    )(replay_command)
    app.command(
        "lag",
        short_help="How far behind a group is.",
        rich_help_panel=LOOK,
        epilog="Example: evkafka lag --app shop.main:app --max 1000",
    )(lag_command)
    app.command("broker", short_help="Run Apache Kafka itself, without Docker.", rich_help_panel=DEVELOP)(
        broker_command
    )
    app.command("demo", short_help="See it run: a real Kafka, real flights, the page.", rich_help_panel=DEVELOP)(
        demo_command
    )
    app.command("verify", short_help="Prove that nothing is lost, under kills and faults.", rich_help_panel=RUN)(
        verify_command
    )


app = typer.Typer(
    name="evkafka",
    help="Event-driven services on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

add_commands(app)
app.add_typer(administering.topics, rich_help_panel=OPERATE)
app.add_typer(administering.offsets, rich_help_panel=OPERATE)
app.add_typer(contract.app, rich_help_panel=LOOK, short_help="Print an app's contract, or compare two.")
app.add_typer(dlq.app, rich_help_panel=OPERATE)


def run() -> int:
    """Run the command line; its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character does not end the command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return said_in_one_sentence(command_line())


def command_line() -> Any:
    """All commands, each flag with its twin in the environment."""
    made = typer.main.get_command(app)
    give_twins(made)
    return made


def _print_version(asked: bool) -> None:
    if not asked:
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
