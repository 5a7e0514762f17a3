"""`evkafka new`: its options."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP


class ValueFormat(enum.StrEnum):  # not a Literal: the oldest Typer that we support knows none
    JSON = "json"
    AVRO = "avro"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the service.")]
Directory = Annotated[Path | None, typer.Option("--in", metavar="DIR", help="The directory to create. Default: NAME.")]
Format = Annotated[
    ValueFormat,
    typer.Option("--format", help="Format of its topics' values. Avro needs a schema registry."),
]


@command("new", panel=DEVELOP, short_help="Create a new service.", epilog="Example: evkafka new billing")
def new_command(name: Name, directory: Directory = None, value_format: Format = ValueFormat.JSON) -> None:
    """Create a new service: app, settings, passing tests, Dockerfile, Kubernetes manifests, CI workflow."""
    from evkafka.cli.impl.new import create_service

    create_service(name, directory, value_format.value)
