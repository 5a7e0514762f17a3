"""`evkafka broker`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP

Port = Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Keep topics and offsets here. Without it they go with the broker.", metavar="DIR", file_okay=False
    ),
]
Properties = Annotated[
    list[str] | None,
    typer.Option("--property", help="A server property of Kafka; may be repeated.", metavar="KEY=VALUE"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the address.")]


@command("broker", panel=DEVELOP, short_help="Run Apache Kafka itself, without Docker.")
def broker_command(port: Port = 9092, data: Data = None, properties: Properties = None, quiet: Quiet = False) -> None:
    """Run Apache Kafka itself on this machine, without Docker, until Ctrl-C or SIGTERM.

    A topic is created when a client first writes to it, with one partition;
    --property num.partitions=6 and --property auto.create.topics.enable=false change that.
    """
    from evkafka.cli.impl.broker import run_broker

    run_broker(port, data_dir=data, properties=properties or [], quiet=quiet)
