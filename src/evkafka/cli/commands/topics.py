"""The commands `topics` and `offsets`, and their options."""

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
    Target,
    Where,
    pairs,
)
from evkafka.exceptions import ConfigError

topics = typer.Typer(
    name="topics", help="The topics that an app needs: what there is, what is missing.", no_args_is_help=True
)
offsets = typer.Typer(name="offsets", help="Where a group goes on: look at it, or set it.", no_args_is_help=True)

Group = Annotated[
    str | None,
    typer.Argument(metavar="[GROUP]", help="Default: the groups of --app's consumers.", show_default=False),
]
InTopic = Annotated[
    list[str] | None,
    typer.Option("--topic", help="Only in this topic; may be repeated.", metavar="TOPIC", show_default=False),
]


@topics.command("plan", epilog="Example: evkafka topics plan shop.main:app")
def plan_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Say which topics the app needs, and which are missing. Ends with 1 where one is."""
    from evkafka.cli.connection import the_app
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl import topics as topics_work

    load_env_file(env_file)
    raise typer.Exit(topics_work.show_plan(the_app(target, Where(target, app_dir, factory)), as_json=as_json))


@topics.command("create", epilog="Example: evkafka topics create shop.main:app --partitions 12 --replicas 3")
def create_command(
    target: Target,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Of each. Default: the brokers' own.", show_default=False)
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Of each. Default: the brokers' own.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--setting",
            metavar="NAME=VALUE",
            help="A topic's own setting (retention.ms=86400000); may be repeated.",
            show_default=False,
        ),
    ] = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Make the topics that are missing. Those that are there stay as they are.

    Topics for retries and dead letters get as many partitions as the topic that they come from.
    """
    from evkafka.cli.connection import the_app
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl import topics as topics_work

    load_env_file(env_file)
    app = the_app(target, Where(target, app_dir, factory))
    config = dict(pairs("--setting", setting))
    topics_work.create(app, partitions=partitions, replicas=replicas, config=config, as_json=as_json)


@offsets.command("show", epilog="Example: evkafka offsets show billing --bootstrap-servers localhost:9092")
def show_command(
    group: Group = None,
    topic: InTopic = None,
    app: OnlyApp = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Show what a group has committed, what there is to read, and who is in it."""
    from evkafka.cli.connection import find
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.lag import asked_of, show_offsets

    load_env_file(env_file)
    found = find(Where(app, app_dir, factory, config, bootstrap_servers, consumer))
    show_offsets(asked_of(found, group, tuple(topic or ())), as_json=as_json)


@offsets.command(
    "reset",
    epilog="Example: evkafka offsets reset billing --topic orders --to 2026-01-31T12:00:00Z --execute",
)
def reset_command(
    group: Group = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="earliest, latest, an offset, a time (2026-01-31T12:00:00Z), or how long ago (2h).",
            show_default=False,
        ),
    ] = None,
    topic: InTopic = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.", show_default=False)] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Do it. Without it, it is only said.")] = False,
    app: OnlyApp = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Set where a group goes on. Says what it would do; with --execute it does it. The group must have no members."""
    from evkafka.cli.connection import find
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.lag import asked_of, reset_offsets
    from evkafka.cli.position import read_place

    load_env_file(env_file)
    if to is None:
        raise ConfigError("where to? --to earliest, latest, an offset, a time, or how long ago (2h)")
    place = read_place("--to", to)
    found = find(Where(app, app_dir, factory, config, bootstrap_servers, consumer))
    asked = asked_of(found, group, tuple(topic or ()))
    reset_offsets(asked, place, partition=partition, execute=execute, as_json=as_json)
