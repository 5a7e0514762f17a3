"""`evkafka offsets show` and `evkafka offsets reset`: their options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import AsJson, ClusterOptions, Group, Topics
from evkafka.exceptions import ConfigError

To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="PLACE",
        help="earliest, latest, an offset, a time (2026-01-31T12:00:00Z), or how long ago (2h).",
    ),
]
Partition = Annotated[int | None, typer.Option(min=0, help="Only this one.")]
Execute = Annotated[bool, typer.Option("--execute", help="Do it. Without it, it is only said.")]


@command("show", epilog="Example: evkafka offsets show billing --bootstrap-servers localhost:9092")
def show_command(
    *, group: Group = None, topic: Topics = None, cluster: ClusterOptions, as_json: AsJson = False
) -> None:
    """Show what a group has committed, what there is to read, and who is in it."""
    from evkafka.cli.connection import find_cluster
    from evkafka.cli.impl.group_offsets import select_groups
    from evkafka.cli.impl.offsets import show_offsets

    show_offsets(select_groups(find_cluster(cluster), group, tuple(topic or ())), as_json=as_json)


@command("reset", epilog="Example: evkafka offsets reset billing --topic orders --to 2026-01-31T12:00:00Z --execute")
def reset_command(
    *,
    group: Group = None,
    to: To = None,
    topic: Topics = None,
    partition: Partition = None,
    execute: Execute = False,
    cluster: ClusterOptions,
    as_json: AsJson = False,
) -> None:
    """Set where a group goes on. Says what it would do; with --execute it does it. The group must have no members."""
    from evkafka.cli.connection import find_cluster
    from evkafka.cli.impl.group_offsets import select_groups
    from evkafka.cli.impl.offsets import reset_offsets
    from evkafka.cli.position import parse_position

    if to is None:
        raise ConfigError("where to? --to earliest, latest, an offset, a time, or how long ago (2h)")
    position = parse_position("--to", to)
    groups = select_groups(find_cluster(cluster), group, tuple(topic or ()))
    reset_offsets(groups, position, partition=partition, execute=execute, as_json=as_json)


app = typer.Typer(name="offsets", help="Where a group goes on: look at it, or set it.", no_args_is_help=True)
show_command.add_to(app)
reset_command.add_to(app)
