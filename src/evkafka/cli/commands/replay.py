"""`evkafka replay`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import (
    FILTERS,
    PLACE,
    AppDir,
    AsJson,
    Consumer,
    EnvFile,
    Factory,
    Target,
    Where,
)


def replay_command(
    target: Target,
    topic: Annotated[str, typer.Option("--topic", metavar="TOPIC", help="Whose history.", show_default=False)],
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="earliest, an offset, a time (2026-01-31T12:00:00Z), or how long ago (2h).",
            show_default=False,
            rich_help_panel=PLACE,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="The same; excluded. Default: the topic's end as it is now.",
            show_default=False,
            rich_help_panel=PLACE,
        ),
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
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most records.", show_default=False, rich_help_panel=FILTERS)
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Most records per second.", show_default=False)] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End at the first one that fails.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decode them only, and count what would fail. The app is not started.")
    ] = False,
    consumer: Consumer = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Run a piece of a topic's history through this app's handler, here, one record after the other.

    No group is joined and no offset is committed: nobody else sees anything of it, but for what the handler does.
    Each record gets one attempt. Ends with 1 where one failed; begin with --dry-run.
    """
    from evkafka.cli.connection import find
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.replay import Piece, replay
    from evkafka.cli.position import read_place

    load_env_file(env_file)
    piece = Piece(
        topic,
        read_place("--from", from_),
        None if to is None else read_place("--to", to),
        partition,
        tuple(event_type or ()),
        limit,
        rate,
    )
    found = find(Where(target, app_dir, factory, consumer=consumer), topic=topic)
    raise typer.Exit(replay(found, piece, dry_run=dry_run, fail_fast=fail_fast, as_json=as_json))
