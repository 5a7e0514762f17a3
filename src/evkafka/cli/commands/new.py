"""`evkafka new`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the service; its directory is made here.")]
Directory = Annotated[
    Path | None, typer.Option("--in", metavar="DIR", help="Make it there. Default: a directory of that name.")
]


@command("new", panel=DEVELOP, short_help="Make a service to begin with.", epilog="Example: evkafka new billing")
def new_command(name: Name, directory: Directory = None) -> None:
    """Make a service: app, settings, tests that pass, Dockerfile, Kubernetes manifests, CI."""
    from evkafka.cli.impl.new import make_service

    make_service(name, directory)
