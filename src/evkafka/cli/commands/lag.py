"""`evkafka lag`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import (
    AppDir,
    AsJson,
    Config,
    Consumer,
    EnvFile,
    Factory,
    OnlyApp,
    Servers,
    Where,
)


def lag_command(
    group: Annotated[
        str | None,
        typer.Argument(metavar="[GROUP]", help="Default: the groups of --app's consumers.", show_default=False),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", help="Only in this topic; may be repeated.", metavar="TOPIC", show_default=False),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option("--max", min=0, help="End with 1 where a group's lag is more.", show_default=False),
    ] = None,
    app: OnlyApp = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Show how many records a group has not committed yet, partition by partition."""
    from evkafka.cli.connection import find
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.lag import asked_of, show_lag

    load_env_file(env_file)
    found = find(Where(app, app_dir, factory, config, bootstrap_servers, consumer))
    raise typer.Exit(show_lag(asked_of(found, group, tuple(topic or ())), most=most, as_json=as_json))
