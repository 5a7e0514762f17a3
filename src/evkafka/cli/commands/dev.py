"""`evkafka dev`: its options."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.commands.run import create_run_options
from evkafka.cli.env_file import load_env_file
from evkafka.cli.options import DEVELOP, AppOptions, OutputOptions, ProcessOptions, process_option

broker_option = partial(typer.Option, rich_help_panel="Broker")

Reload = Annotated[
    bool, process_option("--reload/--no-reload", help="Restart when a file changes.", envvar="EVKAFKA_RELOAD")
]
BrokerPort = Annotated[
    int | None,
    broker_option(
        help="The broker's port on 127.0.0.1. Default: 9092, or a free one if it is taken.",
        metavar="PORT",
        min=0,
        max=65535,
        envvar="EVKAFKA_BROKER_PORT",
    ),
]
Data = Annotated[
    Path | None,
    broker_option(
        help="Keep topics and offsets in this directory. Default: delete them at the end.",
        metavar="DIR",
        envvar="EVKAFKA_BROKER_DATA",
        file_okay=False,
    ),
]
Servers = Annotated[str | None, broker_option(metavar="HOST:PORT", help="Use this broker instead of starting one.")]
Registry = Annotated[
    bool,
    broker_option(
        "--registry",
        help="Start a schema registry too; EVKAFKA_SCHEMA_REGISTRY_URL has its address.",
        envvar="EVKAFKA_REGISTRY",
    ),
]
Partitions = Annotated[
    int,
    broker_option(help="Partitions of the topics that are created.", metavar="N", min=1, envvar="EVKAFKA_PARTITIONS"),
]


@command(
    "dev",
    panel=DEVELOP,
    short_help="Run an app with its own Kafka, and reload it.",
    epilog="Example: evkafka dev shop.main:app",
)
def dev_command(
    *,
    app: AppOptions,
    reload: Reload = True,
    process: ProcessOptions,
    broker_port: BrokerPort = None,
    data: Data = None,
    bootstrap_servers: Servers = None,
    partitions: Partitions = 3,
    registry: Registry = False,
    output: OutputOptions,
) -> None:
    """Start Apache Kafka, create the app's topics, run the app with its dashboard, and restart it at each change.

    All of the app's consumers and producers connect to that broker, without login, whatever their configuration says.
    """
    from evkafka.cli.impl.dev import DevServers, run_dev

    load_env_file(app.env_file)
    options = create_run_options(
        app, process, output, bootstrap_servers=bootstrap_servers, new_topic_partitions=partitions
    )
    servers = DevServers(broker_port, data, registry)
    raise typer.Exit(run_dev(options, servers, reload=reload, directories=process.reload_dir or ()))
