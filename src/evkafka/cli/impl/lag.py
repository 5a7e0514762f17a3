"""`evkafka lag`, `evkafka offsets`: how far groups are, and where they shall go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evkafka.cli.connection import FoundCluster
from evkafka.cli.output import print_json, print_table, screen, styled
from evkafka.cli.position import Position, offsets_of
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.groups import Bounds, Group, bounds_of, commit_offsets, describe_group, group_offsets
from evkafka.kafka.admin.topics import topic_shapes
from evkafka.records import TopicPartition


@dataclass(frozen=True, slots=True)
class Asked:
    """A group, and the topics that it is asked about; none for all that it has committed in."""

    connection: ConnectionSettings
    group: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One partition of one group; `committed` is None where it has none."""

    group: str
    at: TopicPartition
    committed: int | None
    bounds: Bounds

    @property
    def lag(self) -> int:
        """What is written and not committed; of a partition without a commit all that is there."""
        return max(self.bounds.end - max(self.committed or 0, self.bounds.first), 0)


def asked_of(found: FoundCluster, group: str | None, topics: tuple[str, ...]) -> list[Asked]:
    """The groups that are meant: the one that was named, or those of the app's consumers.

    Raises:
        ConfigError: neither was said.
    """
    if group is not None:
        return [Asked(found.connection, group, topics)]
    if found.app is None:
        raise ConfigError("which group? Name it, or an app with --app MODULE:APP")
    chosen = [found.consumer] if found.consumer is not None else list(found.app.consumers.values())
    asked = [
        Asked(
            one.settings.connection, one.settings.group_id, topics or tuple(topic.name for topic in one.settings.topics)
        )
        for one in chosen
        if one.settings.group_id is not None
    ]
    if not asked:
        raise ConfigError("no consumer of this app has a group_id")
    return asked


async def read_group(asked: Asked) -> tuple[Group, list[Row]]:
    group = await describe_group(asked.connection, asked.group)
    committed = await group_offsets(asked.connection, asked.group)
    there = await topic_shapes(asked.connection)
    topics = {topic for topic in asked.topics or {at.topic for at in committed} if topic in there}
    bounds = await bounds_of(asked.connection, topics) if topics else {}
    return group, [Row(asked.group, at, committed.get(at), one) for at, one in sorted(bounds.items())]


# ---------------------------------------------------------------------------- lag


def show_lag(asked: list[Asked], *, most: int | None, as_json: bool) -> int:
    """Print it; 1 where a group's lag is more than `most`."""
    groups = asyncio.run(_read_all(asked))
    sums = {group: sum(row.lag for row in rows) for group, (_, rows) in groups.items()}
    over = {group: lag for group, lag in sums.items() if most is not None and lag > most}
    if as_json:
        print_json(
            {
                "lag": sum(sums.values()),
                "over": bool(over),
                "groups": [
                    {
                        "group": group,
                        "state": seen.state,
                        "members": len(seen.members),
                        "lag": sums[group],
                        "partitions": [_told(row) | {"lag": row.lag} for row in rows],
                    }
                    for group, (seen, rows) in groups.items()
                ],
            }
        )
    else:
        for group, (seen, rows) in groups.items():
            _say_group(group, seen)
            heads = ("topic", "partition", "committed", "end", "written", "lag")
            cells = [
                (
                    row.at.topic,
                    row.at.partition,
                    _dash(row.committed),
                    row.bounds.end,
                    row.bounds.high_watermark,
                    row.lag,
                )
                for row in rows
            ]
            print_table(heads, cells, numbers=heads[1:])
            _say_undecided(rows)
            limit = f", and {most} are allowed" if group in over else ""
            screen().print(f"lag {sums[group]}{limit}\n", style="red" if group in over else "bold")
    return 1 if over else 0


async def _read_all(asked: list[Asked]) -> dict[str, tuple[Group, list[Row]]]:
    found: dict[str, tuple[Group, list[Row]]] = {}
    for one in asked:
        group, rows = await read_group(one)
        before = found.get(one.group, (group, []))[1]
        found[one.group] = group, [*before, *rows]
    return found


def _say_group(name: str, seen: Group) -> None:
    members = f"{len(seen.members)} members" if len(seen.members) != 1 else "1 member"
    said = "there is no such group yet" if seen.state == "Dead" else f"{seen.state.lower()}, {members}"
    screen().print(styled("group ", (name, "bold"), f": {said}"))


def _say_undecided(rows: list[Row]) -> None:
    """A transaction that stays open shows no lag, and yet nobody gets on."""
    for row in rows:
        if row.bounds.high_watermark > row.bounds.end:
            screen().print(
                f"{row.at.topic}[{row.at.partition}]: a transaction is open at offset {row.bounds.end}; what is written"
                f" from there on, up to offset {row.bounds.high_watermark}, counts when it is decided",
                style="yellow",
                markup=False,
            )


def _told(row: Row) -> dict[str, Any]:
    return {
        "topic": row.at.topic,
        "partition": row.at.partition,
        "committed": row.committed,
        "first": row.bounds.first,
        "end": row.bounds.end,
        "high_watermark": row.bounds.high_watermark,
    }


def _dash(value: int | None) -> str:
    return "-" if value is None else str(value)


# ---------------------------------------------------------------------------- offsets


def show_offsets(asked: list[Asked], *, as_json: bool) -> None:
    """Print where each group is, and who is in it."""
    groups = asyncio.run(_read_all(asked))
    if as_json:
        print_json(
            [
                {
                    "group": name,
                    "state": seen.state,
                    "members": [{"client_id": one.client_id, "host": one.host} for one in seen.members],
                    "partitions": [_told(row) for row in rows],
                }
                for name, (seen, rows) in groups.items()
            ]
        )
        return
    for name, (seen, rows) in groups.items():
        _say_group(name, seen)
        heads = ("topic", "partition", "first", "committed", "end")
        cells = [
            (row.at.topic, row.at.partition, row.bounds.first, _dash(row.committed), row.bounds.end) for row in rows
        ]
        print_table(heads, cells, numbers=heads[1:])
        print()


def reset_offsets(asked: list[Asked], place: Position, *, partition: int | None, execute: bool, as_json: bool) -> None:
    """Say from where to where each partition would go; with `execute`, commit it.

    Raises:
        ConfigError: there is nothing to reset, or the group has members.
        CommitRefused, BrokerError: it was not done.
    """
    plans = asyncio.run(_plans(asked, place, partition))
    active = [one for one, group, _ in plans if group.active]
    if execute and active:
        [first, *_] = active
        raise ConfigError(
            f"group {first.group!r} has members, and only they may commit: stop them, and reset it then"
            f" (`evkafka offsets show {first.group}` tells who they are)"
        )
    if execute:
        asyncio.run(_commit(plans))
    if as_json:
        print_json({"executed": execute, "partitions": [_change(row, to) for _, _, rows in plans for row, to in rows]})
        return
    heads = ("group", "topic", "partition", "committed", "becomes", "records")
    cells = [
        (row.group, row.at.topic, row.at.partition, _dash(row.committed), to, _records(row, to))
        for _, _, rows in plans
        for row, to in rows
    ]
    print_table(heads, cells, numbers=heads[2:])
    for one in () if execute else active:
        screen().print(f"group {one.group!r} has members: stop them before", style="yellow")
    screen().print("done" if execute else "nothing was changed: --execute does it", style="bold")


Plan = tuple[Asked, Group, list[tuple[Row, int]]]


async def _plans(asked: list[Asked], place: Position, partition: int | None) -> list[Plan]:
    plans: list[Plan] = []
    for one in asked:
        group, rows = await read_group(one)
        rows = [row for row in rows if partition is None or row.at.partition == partition]
        targets = await offsets_of(one.connection, place, {row.at: row.bounds for row in rows})
        plans.append((one, group, [(row, targets[row.at]) for row in rows]))
    if not any(rows for _, _, rows in plans):
        raise ConfigError("there is nothing to reset: no such topic, or the group has committed nothing; name --topic")
    return plans


async def _commit(plans: list[Plan]) -> None:
    for one, _, rows in plans:
        targets: Mapping[TopicPartition, int] = {row.at: to for row, to in rows}
        await commit_offsets(one.connection, one.group, targets)


def _change(row: Row, to: int) -> dict[str, Any]:
    return {"group": row.group} | _told(row) | {"becomes": to}


def _records(row: Row, to: int) -> str:
    """How many records are read again, or passed over."""
    before = row.committed
    if before is None:
        return f"{row.bounds.end - to} to read"
    if to == before:
        return "as it is"
    return f"{before - to} again" if to < before else f"{to - before} passed over"
