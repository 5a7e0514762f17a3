"""`evkafka topics plan` and `evkafka topics create`: their options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import AppOptions, AsJson, name_value_pairs

Partitions = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Partitions of each topic. Default: the brokers' default.")
]
Replicas = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Replicas of each topic. Default: the brokers' default.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--setting", metavar="NAME=VALUE", help="A topic configuration (retention.ms=86400000); may be repeated."
    ),
]


@command("plan", epilog="Example: evkafka topics plan shop.main:app")
def plan_command(app: AppOptions, as_json: AsJson = False) -> None:
    """Print the topics that the app needs. Exits with code 1 if one is missing."""
    from evkafka.cli.connection import load_app_redirected_to_dev_broker
    from evkafka.cli.impl.topics import show_plan

    raise typer.Exit(show_plan(load_app_redirected_to_dev_broker(app), as_json=as_json))


@command("create", epilog="Example: evkafka topics create shop.main:app --partitions 12 --replicas 3")
def create_command(
    *,
    partitions: Partitions = None,
    replicas: Replicas = None,
    setting: Settings = None,
    app: AppOptions,
    as_json: AsJson = False,
) -> None:
    """Create the missing topics. Existing topics are not changed.

    Retry and dead-letter topics get as many partitions as their source topic.
    """
    from evkafka.cli.connection import load_app_redirected_to_dev_broker
    from evkafka.cli.impl.topics import create_topics

    found = load_app_redirected_to_dev_broker(app)
    config = dict(name_value_pairs("--setting", setting))
    create_topics(found, partitions=partitions, replicas=replicas, config=config, as_json=as_json)


app = typer.Typer(name="topics", help="Print or create the topics that an app needs.", no_args_is_help=True)
plan_command.add_to(app)
create_command.add_to(app)
