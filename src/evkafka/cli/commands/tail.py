"""`evkafka tail`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import (
    FILTERS,
    PLACE,
    AppDir,
    Config,
    Consumer,
    EnvFile,
    Factory,
    OnlyApp,
    Servers,
    Topic,
    Where,
    pairs,
)


def tail_command(
    topic: Topic,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="earliest, latest, an offset, a time (2026-01-31T12:00:00Z), or how long ago (2h).",
            show_default=False,
            rich_help_panel=PLACE,
        ),
    ] = None,
    back: Annotated[
        int,
        typer.Option("--last", "-n", min=0, help="So many records back, without --from.", rich_help_panel=PLACE),
    ] = 10,
    following: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Wait for more, or end at the end.", rich_help_panel=PLACE),
    ] = True,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many.", show_default=False, rich_help_panel=PLACE),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only this one.", show_default=False, rich_help_panel=FILTERS)
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            "-t",
            metavar="TYPE",
            help="Only of this event type; may be repeated.",
            show_default=False,
            rich_help_panel=FILTERS,
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", "-k", help="Only with this key.", show_default=False, rich_help_panel=FILTERS)
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="NAME=VALUE",
            help="Only with this header; may be repeated.",
            show_default=False,
            rich_help_panel=FILTERS,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FIELD=VALUE",
            help="Only where this field of the payload (customer.id) is this; may be repeated.",
            show_default=False,
            rich_help_panel=FILTERS,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--grep", help="Only where this stands in the value.", show_default=False, rich_help_panel=FILTERS
        ),
    ] = None,
    app: OnlyApp = None,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    config: Config = None,
    bootstrap_servers: Servers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Show what stands in a topic and what comes, until Ctrl-C. No group is joined, and nothing is committed."""
    from evkafka.cli.connection import find
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl import tail
    from evkafka.cli.position import read_place

    load_env_file(env_file)
    wanted = tail.Wanted(tuple(event_type or ()), key, pairs("--header", header), pairs("--where", where), text)
    start = None if from_ is None else read_place("--from", from_)
    found = find(Where(app, app_dir, factory, config, bootstrap_servers, consumer), topic=topic)
    tail.tail(
        found,
        topic,
        wanted,
        start=start,
        back=back,
        partition=partition,
        limit=limit,
        following=following,
        as_json=as_json,
    )
