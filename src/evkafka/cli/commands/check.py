"""`evkafka check`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import RUN, AppOptions, AsJson

Broker = Annotated[bool, typer.Option("--broker/--no-broker", help="Connect too: topics, partitions, rights.")]
Strict = Annotated[bool, typer.Option("--strict", help="A warning counts like an error.", envvar="EVKAFKA_STRICT")]


@command(
    "check",
    panel=RUN,
    short_help="Would this app run here? With fixes.",
    epilog="Example: evkafka check shop.main:app --strict --json",
)
def check_command(app: AppOptions, broker: Broker = True, strict: Strict = False, as_json: AsJson = False) -> None:
    """Say whether this app would run here, and what keeps it from it. No record is read, none is written.

    Looks at imports, wiring, configuration, times, codecs, brokers, topics and rights. Ends with 1 where something
    keeps the app from running: for CI, and for an init container.
    """
    from evkafka.cli.impl.check import check

    raise typer.Exit(check(app, broker=broker, strict=strict, as_json=as_json))
