"""`evkafka check`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import RUN, AppOptions, AsJson

Broker = Annotated[
    bool,
    typer.Option("--broker/--no-broker", help="Connect to the brokers too: check topics, partitions and permissions."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.", envvar="EVKAFKA_STRICT")]


@command(
    "check",
    panel=RUN,
    short_help="Check whether an app can run here.",
    epilog="Example: evkafka check shop.main:app --strict --json",
)
def check_command(app: AppOptions, broker: Broker = True, strict: Strict = False, as_json: AsJson = False) -> None:
    """Check whether an app can run here. Reads and writes no records.

    Checks imports, handlers, configuration, timeouts, codecs, brokers, topics and permissions, and prints a fix for
    each problem. Exits with code 1 if the app cannot run: for CI and init containers.
    """
    from evkafka.cli.impl.check import check_app

    raise typer.Exit(check_app(app, broker=broker, strict=strict, as_json=as_json))
