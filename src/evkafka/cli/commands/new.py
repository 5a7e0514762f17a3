"""`evkafka new`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the service; its directory is made here.", show_default=False)
    ],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--in", metavar="DIR", help="Make it there. Default: a directory of that name.", show_default=False
        ),
    ] = None,
) -> None:
    """Make a service: app, settings, tests that pass, Dockerfile, Kubernetes manifests, CI."""
    from evkafka.cli.impl.new import make_service

    make_service(name, directory)
