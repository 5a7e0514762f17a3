"""`evkafka offsets`: shows and sets the committed offsets of groups."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass

from evkafka.cli.impl.group_offsets import (
    GroupQuery,
    PartitionOffsets,
    print_group_heading,
    print_member,
    read_group,
    read_groups,
)
from evkafka.cli.output import print_json, print_table, stdout_console
from evkafka.cli.position import Position, look_up_offsets
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.groups import commit_offsets


def show_offsets(queries: list[GroupQuery], *, as_json: bool) -> None:
    """Print what each group has committed, and its members."""
    groups = asyncio.run(read_groups(queries))
    if as_json:
        print_json(
            [
                {
                    "group": name,
                    "state": group.state,
                    "protocol": group.protocol,
                    "epoch": group.epoch,
                    "members": [asdict(member) for member in group.members],
                    "partitions": [one.as_json() for one in partitions],
                }
                for name, (group, partitions) in groups.items()
            ]
        )
        return
    for name, (group, partitions) in groups.items():
        print_group_heading(name, group, partitions)
        for member in group.members:
            print_member(member)
        if not partitions:
            continue
        heads = ("topic", "partition", "first", "committed", "end")
        rows = [(*one.at, one.bounds.first, one.committed_text, one.bounds.end) for one in partitions]
        print_table(heads, rows, numbers=heads[1:])
        print()


@dataclass(frozen=True, slots=True)
class _Reset:
    """The new offset of each partition of one group.

    Attributes:
        active: the group has members.
    """

    query: GroupQuery
    active: bool
    partitions: list[tuple[PartitionOffsets, int]]


def reset_offsets(
    queries: list[GroupQuery], position: Position, *, partition: int | None, execute: bool, as_json: bool
) -> None:
    """Print the old and the new offset of each partition; with `execute`, commit the new ones first.

    Raises:
        ConfigError: the group has members.
        CommitRefused, BrokerError: the offsets were not committed.
    """
    resets = asyncio.run(_plan_resets(queries, position, partition))
    active = [one.query.group for one in resets if one.active]
    if execute and active:
        raise ConfigError(
            f"group {active[0]!r} has members, so only they can commit: stop them first"
            f" (`evkafka offsets show {active[0]}` lists them)"
        )
    if execute:
        asyncio.run(_commit_resets(resets))
    changes = [change for one in resets for change in one.partitions]
    if not changes and not as_json:
        groups = ", ".join(one.query.group for one in resets)
        print(f"nothing to reset: group {groups} has no committed offsets here; --topic names a topic to begin with")
        return
    if as_json:
        rows = [{"group": one.group} | one.as_json() | {"new": offset} for one, offset in changes]
        print_json({"executed": execute, "partitions": rows})
        return
    heads = ("group", "topic", "partition", "committed", "new", "records")
    cells = [(one.group, *one.at, one.committed_text, offset, _effect_text(one, offset)) for one, offset in changes]
    print_table(heads, cells, numbers=heads[2:])
    for group in () if execute else active:
        stdout_console().print(f"group {group!r} has members: stop them first", style="yellow")
    stdout_console().print(
        "committed" if execute else "nothing was changed; --execute commits the new offsets", style="bold"
    )


async def _plan_resets(queries: list[GroupQuery], position: Position, partition: int | None) -> list[_Reset]:
    resets = []
    for query in queries:
        group, found = await read_group(query)
        partitions = [one for one in found if partition is None or one.at.partition == partition]
        offsets = await look_up_offsets(query.connection, position, {one.at: one.bounds for one in partitions})
        resets.append(_Reset(query, group.active, [(one, offsets[one.at]) for one in partitions]))
    return resets


async def _commit_resets(resets: list[_Reset]) -> None:
    for one in resets:
        offsets = {partition.at: offset for partition, offset in one.partitions}
        if offsets:
            await commit_offsets(one.query.connection, one.query.group, offsets)


def _effect_text(partition: PartitionOffsets, offset: int) -> str:
    """How many records are read again, or skipped. A reset forgets what is finished after the committed offset."""
    committed = partition.committed
    if committed is None:
        return f"{partition.bounds.end - offset} to read"
    again = max(committed - offset, 0) + sum(max(end - max(start, offset), 0) for start, end in partition.finished)
    effects = [f"{offset - committed} skipped"] if offset > committed else []
    if again:
        effects.append(f"{again} to read again")
    return ", ".join(effects) or "unchanged"
