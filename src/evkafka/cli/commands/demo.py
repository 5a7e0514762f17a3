"""`evkafka demo`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP

Rate = Annotated[float, typer.Option(help="Flights per second.", metavar="N", min=1)]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        help="The dashboard's port. Default: 8080, or a free one if it is taken.",
        metavar="PORT",
        min=0,
        max=65535,
    ),
]
KeepRunning = Annotated[
    bool | None,
    typer.Option(
        "--keep-running/--once",
        help="Send the flights in a loop until Ctrl-C, or once. Default: in a loop on a terminal, else once.",
    ),
]


@command("demo", panel=DEVELOP, short_help="Run a demo: a real Kafka, an app, the dashboard.")
def demo_command(rate: Rate = 400, port: Port = None, keep_running: KeepRunning = None) -> None:
    """Start Apache Kafka, an app that tracks departures and its dashboard, and send a week of flights of 2013.

    Some flights cannot be handled and become dead letters: replay them on the dashboard. Everything is deleted at the
    end.
    """
    from evkafka.cli.impl.demo import run_demo

    run_demo(rate, port=port, keep_running=keep_running)
