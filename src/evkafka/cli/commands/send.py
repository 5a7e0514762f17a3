"""`evkafka send`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP, EVENT, AsJson, ClusterOptions, EventOptions, Topic
from evkafka.exceptions import ConfigError

Check = Annotated[
    bool,
    typer.Option("--check/--no-check", help="With an app: send only what its endpoint takes.", rich_help_panel=EVENT),
]
Create = Annotated[bool, typer.Option("--create", help="Where there is no such topic, let the brokers make it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check it, and send nothing.")]


@command(
    "send",
    panel=DEVELOP,
    short_help="Send events, checked by the app's endpoint.",
    epilog="Examples: evkafka send orders '{\"id\": 1}' --type OrderPlaced --key 1 --app shop.main:app"
    " | evkafka send orders --file orders.jsonl --lines --type OrderPlaced --key-field id",
)
def send_command(
    *,
    topic: Topic,
    event: EventOptions,
    cluster: ClusterOptions,
    check: Check = True,
    create: Create = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send events to a topic, and return when the brokers have confirmed them.

    With --app each payload is checked first by the endpoint that would get it; where one does not pass, none is sent.
    """
    from evkafka.cli.connection import find_cluster
    from evkafka.cli.impl import send

    if event.lines and event.records:
        raise ConfigError("--lines and --records: a line is one or the other")
    found = find_cluster(cluster, topic=topic)
    events = send.read_events(event, found.type_header)
    send.send(found, topic, events, check=check, create=create, dry_run=dry_run, as_json=as_json)
