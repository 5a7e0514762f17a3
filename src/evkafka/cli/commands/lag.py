"""`evkafka lag`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from evkafka.cli.command import command
from evkafka.cli.options import INSPECT, AsJson, ClusterOptions, Group, Topics

Max = Annotated[
    int | None, typer.Option("--max", min=0, metavar="N", help="Exit with code 1 if the lag of a group is higher.")
]


@command(
    "lag",
    panel=INSPECT,
    short_help="Print the lag of consumer groups.",
    epilog="Example: evkafka lag --app shop.main:app --max 1000",
)
def lag_command(
    *, group: Group = None, topic: Topics = None, max_lag: Max = None, cluster: ClusterOptions, as_json: AsJson = False
) -> None:
    """Print the lag of consumer groups: the records that are written and not committed, per partition."""
    from evkafka.cli.connection import find_cluster_by_options
    from evkafka.cli.impl.group_offsets import select_groups
    from evkafka.cli.impl.lag import show_lag

    groups = select_groups(find_cluster_by_options(cluster), group, tuple(topic or ()))
    raise typer.Exit(show_lag(groups, max_lag=max_lag, as_json=as_json))
