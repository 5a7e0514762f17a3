"""`evkafka replay`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import (
    OPERATE,
    AppOptions,
    AsJson,
    Consumer,
    EventTypes,
    FilteredPartition,
    filter_option,
    range_option,
)

Topic = Annotated[str, typer.Option("--topic", metavar="TOPIC", help="The topic to read.")]
From = Annotated[
    str,
    range_option(
        "--from", metavar="POSITION", help="Start at earliest, an offset, a time (2026-01-31T12:00:00Z) or an age (2h)."
    ),
]
To = Annotated[
    str | None,
    range_option("--to", metavar="POSITION", help="Stop before this position. Default: the end of the topic now."),
]
Limit = Annotated[int | None, filter_option(min=1, metavar="N", help="At most this many records.")]
Rate = Annotated[float | None, typer.Option(min=0.001, metavar="N", help="At most this many records per second.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only decode the records, and count the failures. Does not start the app.")
]


@command(
    "replay",
    panel=OPERATE,
    short_help="Run past records through the app's handler.",
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
    """Run past records of a topic through the app's handler in this process, one at a time.

    Joins no group and commits no offset; only the handler's own effects are visible elsewhere. Each record gets one
    attempt. Exits with code 1 if one fails. Try --dry-run first.
    """
    from evkafka.cli.connection import cluster_of_app, load_app_redirected_to_dev_broker
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
    found = cluster_of_app(load_app_redirected_to_dev_broker(app), consumer, topic)
    raise typer.Exit(replay(found, history, dry_run=dry_run, fail_fast=fail_fast, as_json=as_json))
