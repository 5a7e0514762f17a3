"""The commands and their options. What a command does stands in a module of its own, imported when it is called."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from evkafka.exceptions import BrokerError, ConfigError, EVKafkaError

FAILED, USAGE, NOT_STARTED = 1, 2, 3


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


app = typer.Typer(
    name="evkafka",
    help="Event-driven services on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> int:
    """Run the command line; its exit code. Errors that a person can mend are said in one sentence, on stderr."""
    try:
        app()
    except SystemExit as exit_:
        return _code_of(exit_)
    except EVKafkaError as error:
        print(f"evkafka: {error}", file=sys.stderr)
        return _code_for(error)
    except KeyboardInterrupt:
        return 130
    return 0


def _code_for(error: EVKafkaError) -> int:
    match error:
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
            print(text, file=sys.stderr)
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


@app.command("run")
def run_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:APP",
            help="Where the app is: module, colon, name.",
            envvar="EVKAFKA_APP",
            show_default=False,
        ),
    ],
    app_dir: Annotated[
        Path, typer.Option(help="Where the module is looked for first.", envvar="EVKAFKA_APP_DIR", metavar="DIR")
    ] = Path(),
    factory: Annotated[
        bool, typer.Option("--factory", help="APP is a function that makes the app.", envvar="EVKAFKA_FACTORY")
    ] = False,
    log_level: Annotated[
        LogLevel, typer.Option(help="What is logged at least.", envvar="EVKAFKA_LOG_LEVEL", case_sensitive=False)
    ] = LogLevel.INFO,
) -> None:
    """Run an app until Ctrl-C or SIGTERM."""
    from evkafka.cli.run import run_app

    run_app(target, app_dir=app_dir, factory=factory, log_level=log_level.value)


@app.command("broker")
def broker_command(
    port: Annotated[
        int,
        typer.Option(help="The port on 127.0.0.1; 0 takes a free one.", min=0, max=65535, envvar="EVKAFKA_BROKER_PORT"),
    ] = 9092,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Keep topics and offsets here. Without it they go with the broker.",
            metavar="DIR",
            envvar="EVKAFKA_BROKER_DATA",
            file_okay=False,
        ),
    ] = None,
    properties: Annotated[
        list[str] | None,
        typer.Option("--property", help="A server property of Kafka; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the address.", envvar="EVKAFKA_BROKER_QUIET")
    ] = False,
) -> None:
    """Run Apache Kafka itself on this machine, without Docker, until Ctrl-C or SIGTERM.

    A topic is created when a client first writes to it, with one partition;
    --property num.partitions=6 and --property auto.create.topics.enable=false change that.
    """
    from evkafka.cli.broker import run_broker

    run_broker(port, data_dir=data, properties=properties or [], quiet=quiet)
