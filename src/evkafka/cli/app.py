"""The commands and their options. What a command does stands in a module of its own, imported when it is called."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli import dlq
from evkafka.exceptions import BrokerError, ConfigError, EVKafkaError

FAILED, USAGE, NOT_STARTED = 1, 2, 3


class LogFormat(enum.StrEnum):
    CONSOLE = "console"
    JSON = "json"


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

app.add_typer(dlq.app)


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
    log_format: Annotated[
        LogFormat,
        typer.Option(
            help="Lines for people, or a JSON object a line.", envvar="EVKAFKA_LOG_FORMAT", case_sensitive=False
        ),
    ] = LogFormat.CONSOLE,
    reset_dead_letter_limit: Annotated[
        bool,
        typer.Option(
            "--reset-dead-letter-limit",
            help="Go on where a dead_letter_limit has stopped the app.",
            envvar="EVKAFKA_RESET_DEAD_LETTER_LIMIT",
        ),
    ] = False,
) -> None:
    """Run an app until Ctrl-C or SIGTERM."""
    from evkafka.cli.run import run_app

    run_app(
        target,
        app_dir=app_dir,
        factory=factory,
        log_level=log_level.value,
        json_log=log_format is LogFormat.JSON,
        reset_dead_letter_limit=reset_dead_letter_limit,
    )


@app.command("asyncapi")
def asyncapi_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:APP",
            help="Where the app is: module, colon, name.",
            envvar="EVKAFKA_APP",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write it there; YAML where the name ends in .yaml or .yml.", metavar="FILE"
        ),
    ] = None,
    app_dir: Annotated[
        Path, typer.Option(help="Where the module is looked for first.", envvar="EVKAFKA_APP_DIR", metavar="DIR")
    ] = Path(),
    factory: Annotated[
        bool, typer.Option("--factory", help="APP is a function that makes the app.", envvar="EVKAFKA_FACTORY")
    ] = False,
) -> None:
    """Print an app's contract, as an AsyncAPI document. Nothing is connected."""
    from evkafka.cli.asyncapi import print_contract

    print_contract(target, app_dir=app_dir, factory=factory, output=output)


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


@app.command("verify")
def verify_command(
    minutes: Annotated[float, typer.Option(help="How long there is load and faults.", min=0)] = 1.0,
    seconds: Annotated[float | None, typer.Option(help="The same in seconds.", min=1, show_default=False)] = None,
    processes: Annotated[int, typer.Option(help="How many processes run the app.", min=1)] = 3,
    seed: Annotated[int | None, typer.Option(help="Repeats a run's schedule. Without it: at random.")] = None,
    rate: Annotated[int, typer.Option(help="Records per second.", min=1)] = 400,
    partitions: Annotated[int, typer.Option(min=1)] = 6,
    keys: Annotated[int, typer.Option(help="How many keys the records have.", min=1)] = 200,
    kill_every: Annotated[float, typer.Option(help="Seconds between two SIGKILLs; 0 for none.", min=0)] = 10.0,
    fault_every: Annotated[float, typer.Option(help="Seconds between two other faults; 0 for none.", min=0)] = 15.0,
    faults: Annotated[
        str | None,
        typer.Option(help="Which other faults: stop, freeze, members, broker.", metavar="A,B", show_default="all"),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Records in flight.", min=1, show_default="16")] = None,
    ordering: Annotated[str | None, typer.Option(help="key, partition or unordered.", show_default="key")] = None,
    session_timeout_ms: Annotated[int | None, typer.Option(min=500, show_default="6000")] = None,
    auto_commit_interval_ms: Annotated[int | None, typer.Option(min=0, show_default="100")] = None,
    work_ms: Annotated[float, typer.Option(help="What the built-in app's endpoint takes.", min=0)] = 5.0,
    target: Annotated[
        str | None, typer.Option("--app", metavar="MODULE:APP", help="Verify this app, not the built-in one.")
    ] = None,
    app_dir: Annotated[Path, typer.Option(help="Where the module is looked for first.", metavar="DIR")] = Path(),
    consumer: Annotated[str | None, typer.Option(help="Which of the app's consumers.")] = None,
    event_type: Annotated[str, typer.Option(help="The records' event type.")] = "Verify",
    payload: Annotated[
        str | None,
        typer.Option(help="The records' value; {n} is the number, {key} the key. @FILE reads it from a file."),
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="Run there, on a topic of its own. Without it a broker is started.")
    ] = None,
    settle: Annotated[float, typer.Option(help="Seconds until all must be handled, after the load.", min=1)] = 90.0,
    max_duplicates: Annotated[
        float | None, typer.Option(help="Percent of records that may be handled again.", min=0, show_default="any")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep journal and logs here.", metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Prove that nothing is lost: load, SIGKILLs and other faults, then a count of everything. Ends with 0 or 1."""
    import random

    from evkafka.cli.verify import payload_of, run_verify
    from evkafka.verify.options import Options, kinds_of

    said = {
        "concurrency": concurrency,
        "ordering": ordering,
        "session_timeout_ms": session_timeout_ms,
        "heartbeat_interval_ms": None if session_timeout_ms is None else session_timeout_ms // 5,
        "auto_commit_interval_ms": auto_commit_interval_ms,
    }
    options = Options(
        lasts_s=minutes * 60 if seconds is None else seconds,
        processes=processes,
        seed=random.randrange(2**31) if seed is None else seed,
        rate=rate,
        partitions=partitions,
        keys=keys,
        work_ms=work_ms,
        kill_every_s=kill_every,
        fault_every_s=fault_every,
        kinds=kinds_of(faults, own_broker=bootstrap_servers is None),
        bootstrap_servers=bootstrap_servers,
        app=target,
        app_dir=app_dir,
        consumer=consumer,
        event_type=event_type,
        payload=payload_of(payload),
        config={key: value for key, value in said.items() if value is not None},
        settle_s=settle,
        max_duplicates=max_duplicates,
        home=keep,
    )
    run_verify(options, as_json=as_json)
