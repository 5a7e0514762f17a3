"""`evkafka demo`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP

Rate = Annotated[float, typer.Option(help="Flights per second.", min=1)]
Port = Annotated[
    int | None,
    typer.Option(help="The page's port. Default: 8080, or any other one where it is taken.", min=0, max=65535),
]
KeepRunning = Annotated[
    bool | None,
    typer.Option(
        "--keep-running/--once",
        help="Send them again and again until Ctrl-C, or once. Default: again at a terminal, once elsewhere.",
    ),
]


@command("demo", panel=DEVELOP, short_help="See it run: a real Kafka, real flights, the page.")
def demo_command(rate: Rate = 400, port: Port = None, keep_running: KeepRunning = None) -> None:
    """Start Apache Kafka, an app that watches departures, its operations page, and a week of flights of 2013.

    Among them are some that cannot be handled: replay them on the page. Nothing of it stays behind.
    """
    from evkafka.cli.impl.demo import run_demo

    run_demo(rate, port=port, keep_running=keep_running)
