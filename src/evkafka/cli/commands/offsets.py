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
        metavar="POSITION",
        help="earliest, latest, an offset, a time (2026-01-31T12:00:00Z) or an age (2h).",
    ),
]
Partition = Annotated[int | None, typer.Option(min=0, metavar="N", help="Only this partition.")]
Execute = Annotated[bool, typer.Option("--execute", help="Commit the new offsets. Without it they are only printed.")]


@command("show", epilog="Example: evkafka offsets show billing --bootstrap-servers localhost:9092")
def show_command(
    *, group: Group = None, topic: Topics = None, cluster: ClusterOptions, as_json: AsJson = False
) -> None:
    """Print the committed offsets of groups, the range of their partitions, and their members."""
    from evkafka.cli.connection import find_cluster_by_options
    from evkafka.cli.impl.group_offsets import select_groups
    from evkafka.cli.impl.offsets import show_offsets

    show_offsets(select_groups(find_cluster_by_options(cluster), group, tuple(topic or ())), as_json=as_json)


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
    """Reset the committed offsets of groups. Only prints them; --execute commits them. No member may be running."""
    from evkafka.cli.connection import find_cluster_by_options
    from evkafka.cli.impl.group_offsets import select_groups
    from evkafka.cli.impl.offsets import reset_offsets
    from evkafka.cli.position import parse_position

    if to is None:
        raise ConfigError("--to is missing: earliest, latest, an offset, a time (2026-01-31T12:00:00Z) or an age (2h)")
    position = parse_position("--to", to)
    groups = select_groups(find_cluster_by_options(cluster), group, tuple(topic or ()))
    reset_offsets(groups, position, partition=partition, execute=execute, as_json=as_json)


app = typer.Typer(name="offsets", help="Print or reset the committed offsets of groups.", no_args_is_help=True)
show_command.add_to(app)
reset_command.add_to(app)
