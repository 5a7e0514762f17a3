"""`evkafka dev`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import (
    PROCESSES,
    AppDir,
    EnvFile,
    EventLoop,
    Exclude,
    Factory,
    Format,
    Host,
    Level,
    LogFormat,
    LogLevel,
    Loop,
    Only,
    Port,
    ReloadDir,
    Target,
    Web,
)


def dev_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload/--no-reload",
            help="Start anew when a file changes.",
            envvar="EVKAFKA_RELOAD",
            rich_help_panel=PROCESSES,
        ),
    ] = True,
    reload_dir: ReloadDir = None,
    loop: EventLoop = Loop.AUTO,
    only: Only = None,
    exclude: Exclude = None,
    broker_port: Annotated[
        int | None,
        typer.Option(
            help="The broker's port on 127.0.0.1. Default: 9092, or a free one where that is taken.",
            min=0,
            max=65535,
            envvar="EVKAFKA_BROKER_PORT",
            show_default=False,
            rich_help_panel="The broker",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Keep topics and offsets here. Without it they go with the broker.",
            metavar="DIR",
            envvar="EVKAFKA_BROKER_DATA",
            file_okay=False,
            show_default=False,
            rich_help_panel="The broker",
        ),
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Start no broker, use this one.",
            show_default=False,
            rich_help_panel="The broker",
        ),
    ] = None,
    partitions: Annotated[
        int,
        typer.Option(help="Of topics that are made.", min=1, envvar="EVKAFKA_PARTITIONS", rich_help_panel="The broker"),
    ] = 3,
    web: Web = None,
    host: Host = None,
    port: Port = None,
    log_level: Level = LogLevel.INFO,
    log_format: Format = LogFormat.CONSOLE,
) -> None:
    """Run an app with everything around it: a real Kafka, its topics, its page, and a reload at each change.

    All of the app's consumers and producers go to that broker, without login; nothing else is touched.
    """
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.dev import can_serve, run_dev
    from evkafka.cli.impl.run import RunOptions

    load_env_file(env_file)
    options = RunOptions(
        target,
        app_dir=app_dir,
        factory=factory,
        log_level=log_level.value,
        json_log=log_format is LogFormat.JSON,
        loop=loop.value,
        only=tuple(only or ()),
        exclude=tuple(exclude or ()),
        web=can_serve() if web is None else web,
        host=host,
        port=port,
        bootstrap_servers=bootstrap_servers,
        dev=partitions,
    )
    code = run_dev(options, reload=reload, directories=reload_dir or (), broker_port=broker_port, data=data)
    raise typer.Exit(code)
