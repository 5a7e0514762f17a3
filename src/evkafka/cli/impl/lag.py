"""`evkafka lag`: how many records groups have not committed yet."""

from __future__ import annotations

import asyncio

from evkafka.cli.impl.group_offsets import (
    GroupQuery,
    PartitionOffsets,
    print_group_heading,
    print_member,
    read_groups,
)
from evkafka.cli.output import print_json, print_table, stdout_console
from evkafka.kafka.admin.groups import Group

Groups = dict[str, tuple[Group, list[PartitionOffsets]]]


def show_lag(queries: list[GroupQuery], *, max_lag: int | None, as_json: bool) -> int:
    """Print the lag. Returns 1 if that of a group is more than `max_lag`, else 0."""
    groups = asyncio.run(read_groups(queries))
    lags = {name: sum(one.lag for one in partitions) for name, (_, partitions) in groups.items()}
    exceeded = {name for name, lag in lags.items() if max_lag is not None and lag > max_lag}
    if as_json:
        print_json(_lag_as_json(groups, lags, exceeded=bool(exceeded)))
        return 1 if exceeded else 0
    for name, (group, partitions) in groups.items():
        print_group_heading(name, group, partitions)
        for member in group.members:
            if member.is_moving or member.is_away:
                print_member(member)
        if not partitions:
            continue
        _print_partitions(partitions)
        limit = f", more than {max_lag}" if name in exceeded else ""
        stdout_console().print(f"lag {lags[name]}{limit}\n", style="red" if name in exceeded else "bold")
    return 1 if exceeded else 0


def _lag_as_json(groups: Groups, lags: dict[str, int], *, exceeded: bool) -> dict[str, object]:
    return {
        "lag": sum(lags.values()),
        "over": exceeded,
        "groups": [
            {
                "group": name,
                "state": group.state,
                "protocol": group.protocol,
                "epoch": group.epoch,
                "members": len(group.members),
                "lag": lags[name],
                "partitions": [one.as_json() | {"lag": one.lag, "done_ahead": one.done_ahead} for one in partitions],
            }
            for name, (group, partitions) in groups.items()
        ],
    }


def _print_partitions(partitions: list[PartitionOffsets]) -> None:
    heads = ("topic", "partition", "committed", "end", "written", "lag", "done ahead")
    rows = [
        (*one.at, one.committed_text, one.bounds.end, one.bounds.high_watermark, one.lag, one.done_ahead)
        for one in partitions
    ]
    print_table(heads, rows, numbers=heads[1:])
    for one in partitions:
        # An open transaction adds nothing to the lag, and yet no reader gets past it.
        if one.bounds.high_watermark > one.bounds.end:
            stdout_console().print(
                f"{one.at.topic}[{one.at.partition}]: open transaction at offset {one.bounds.end}; the records up to"
                f" offset {one.bounds.high_watermark} count as lag when it ends",
                style="yellow",
            )
