"""`evkafka broker`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP

Port = Annotated[
    int, typer.Option("--port", help="The port on 127.0.0.1; 0 for a free one.", metavar="PORT", min=0, max=65535)
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Keep topics and offsets in this directory. Default: delete them at the end.",
        metavar="DIR",
        file_okay=False,
    ),
]
Properties = Annotated[
    list[str] | None,
    typer.Option("--property", help="A broker property; may be repeated.", metavar="KEY=VALUE"),
]
Registry = Annotated[bool, typer.Option("--registry", help="Run a schema registry too.")]
RegistryPort = Annotated[
    int,
    typer.Option(help="The registry's port on 127.0.0.1; 0 for a free one.", metavar="PORT", min=0, max=65535),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the addresses.")]


@command("broker", panel=DEVELOP, short_help="Run Apache Kafka, without Docker.")
def broker_command(
    port: Port = 9092,
    data: Data = None,
    properties: Properties = None,
    registry: Registry = False,
    registry_port: RegistryPort = 8081,
    quiet: Quiet = False,
) -> None:
    """Run Apache Kafka on this machine, without Docker, until Ctrl-C or SIGTERM.

    A topic is created when a client first uses it, with one partition. Change that with
    --property num.partitions=6 or --property auto.create.topics.enable=false.

    The schema registry is Apicurio Registry, with the API of Confluent's. Its first start downloads 158 MB.
    """
    from evkafka.cli.impl.broker import run_broker

    own_port = registry_port if registry else None
    run_broker(port, data_dir=data, properties=properties or [], registry_port=own_port, quiet=quiet)
