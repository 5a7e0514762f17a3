"""`evkafka send`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import DEVELOP, AsJson, ClusterOptions, EventOptions, Topic, event_option
from evkafka.exceptions import ConfigError

Check = Annotated[
    bool, event_option("--check/--no-check", help="With --app: validate each payload with its endpoint first.")
]
Create = Annotated[bool, typer.Option("--create", help="Let the brokers create the topic if it does not exist.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Validate the events, and send nothing.")]


@command(
    "send",
    panel=DEVELOP,
    short_help="Send events to a topic.",
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

    With --app, each payload is validated by the endpoint of its event type; if one is invalid, none is sent.
    """
    from evkafka.cli.connection import find_cluster_by_options
    from evkafka.cli.impl import send

    if event.lines and event.records:
        raise ConfigError("--lines and --records cannot be combined")
    found = find_cluster_by_options(cluster, topic=topic)
    events = send.read_events(event, found.type_header)
    send.send(found, topic, events, check=check, create=create, dry_run=dry_run, as_json=as_json)
