"""`evkafka replay`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import FILTERS, OPERATE, POSITION, AppOptions, AsJson, Consumer, EventTypes, FilteredPartition

Topic = Annotated[str, typer.Option("--topic", metavar="TOPIC", help="Whose history.")]
From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="PLACE",
        help="earliest, an offset, a time (2026-01-31T12:00:00Z), or how long ago (2h).",
        rich_help_panel=POSITION,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="PLACE",
        help="The same; excluded. Default: the topic's end as it is now.",
        rich_help_panel=POSITION,
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Most records.", rich_help_panel=FILTERS)]
Rate = Annotated[float | None, typer.Option(min=0.001, help="Most records per second.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="End at the first one that fails.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Decode them only, and count what would fail. The app is not started.")
]


@command(
    "replay",
    panel=OPERATE,
    short_help="Run a piece of history through the app's handler.",
    epilog="Example: evkafka replay shop.main:app --topic orders --from 2h --dry-run",
)
def replay_command(
    *,
    topic: Topic,
    from_: From,
    to: To = None,
    partition: FilteredPartition = None,
    event_type: EventTypes = None,
    limit: Limit = None,
    rate: Rate = None,
    fail_fast: FailFast = False,
    dry_run: DryRun = False,
    consumer: Consumer = None,
    app: AppOptions,
    as_json: AsJson = False,
) -> None:
    """Run a piece of a topic's history through this app's handler, here, one record after the other.

    No group is joined and no offset is committed: nobody else sees anything of it, but for what the handler does.
    Each record gets one attempt. Ends with 1 where one failed; begin with --dry-run.
    """
    from evkafka.cli.connection import cluster_of_app, open_connected_app
    from evkafka.cli.impl.replay import History, replay
    from evkafka.cli.position import parse_position

    history = History(
        topic,
        parse_position("--from", from_),
        None if to is None else parse_position("--to", to),
        partition,
        tuple(event_type or ()),
        limit,
        rate,
    )
    found = cluster_of_app(open_connected_app(app), consumer, topic)
    raise typer.Exit(replay(found, history, dry_run=dry_run, fail_fast=fail_fast, as_json=as_json))
