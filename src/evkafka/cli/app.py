"""The commands and their options. What a command does stands in a module of its own, imported when it is called."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from evkafka.cli import administering, contract, dlq, looking, records, running, serving
from evkafka.cli.options import LOOK, OPERATE
from evkafka.cli.twins import give_twins
from evkafka.exceptions import BrokerError, ConfigError, EVKafkaError
from evkafka.safe_text import lines

FAILED, USAGE, NOT_STARTED = 1, 2, 3


app = typer.Typer(
    name="evkafka",
    help="Event-driven services on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

looking.add_to(app)
running.add_to(app)
records.add_to(app)
serving.add_to(app)
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


def said_in_one_sentence(work: Callable[[], object]) -> int:
    """Do it; its exit code. Errors that a person can mend are said in one sentence, on stderr."""
    try:
        work()
    except SystemExit as exit_:
        return _code_of(exit_)
    except EVKafkaError as error:
        print(f"evkafka: {lines(str(error))}", file=sys.stderr)
        return _code_for(error)
    except KeyboardInterrupt:
        return 130
    return 0


def _code_for(error: EVKafkaError) -> int:
    from evkafka.service import StartFailed  # loaded by whatever raised it

    match error:
        case StartFailed(__cause__=ConfigError()):
            return USAGE
        case StartFailed():
            return NOT_STARTED
        case ConfigError():
            return USAGE
        case BrokerError():
            return NOT_STARTED
        case _:
            return FAILED


def _code_of(exit_: SystemExit) -> int:
    match exit_.code:
        case None:
            return 0
        case int():
            return exit_.code
        case text:
            print(lines(str(text)), file=sys.stderr)
            return FAILED


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
