"""What groups have committed against what their topics hold, for `evkafka lag` and `evkafka offsets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evkafka.cli.connection import FoundCluster
from evkafka.cli.output import screen, styled
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.groups import Bounds, Group, bounds_of, describe_group, group_offsets
from evkafka.kafka.admin.topics import topic_shapes
from evkafka.records import TopicPartition


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """A group and the topics that are looked at; without topics, all in which the group has committed."""

    connection: ConnectionSettings
    group: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """One partition as one group has read it; `committed` is None if the group has committed nothing there."""

    group: str
    at: TopicPartition
    committed: int | None
    bounds: Bounds

    @property
    def lag(self) -> int:
        """Records that are written and not committed; without a commit, all that the partition has."""
        return max(self.bounds.end - max(self.committed or 0, self.bounds.first), 0)

    @property
    def committed_text(self) -> str:
        return "-" if self.committed is None else str(self.committed)

    def as_json(self) -> dict[str, Any]:
        return {
            "topic": self.at.topic,
            "partition": self.at.partition,
            "committed": self.committed,
            "first": self.bounds.first,
            "end": self.bounds.end,
            "high_watermark": self.bounds.high_watermark,
        }


def select_groups(found: FoundCluster, group: str | None, topics: tuple[str, ...]) -> list[GroupQuery]:
    """The named group, or the groups of the app's consumers.

    Raises:
        ConfigError: neither is named, or no consumer has a group.
    """
    if group is not None:
        return [GroupQuery(found.connection, group, topics)]
    if found.app is None:
        raise ConfigError("which group? Name it, or an app with --app MODULE:APP")
    consumers = [found.consumer] if found.consumer is not None else list(found.app.consumers.values())
    queries = [
        GroupQuery(settings.connection, settings.group_id, topics or tuple(topic.name for topic in settings.topics))
        for settings in (one.settings for one in consumers)
        if settings.group_id is not None
    ]
    if not queries:
        raise ConfigError("no consumer of this app has a group_id")
    return queries


async def read_group(query: GroupQuery) -> tuple[Group, list[PartitionOffsets]]:
    group = await describe_group(query.connection, query.group)
    committed = await group_offsets(query.connection, query.group)
    existing = await topic_shapes(query.connection)
    topics = {topic for topic in query.topics or {at.topic for at in committed} if topic in existing}
    bounds = await bounds_of(query.connection, topics) if topics else {}
    return group, [PartitionOffsets(query.group, at, committed.get(at), one) for at, one in sorted(bounds.items())]


async def read_groups(queries: list[GroupQuery]) -> dict[str, tuple[Group, list[PartitionOffsets]]]:
    """Each group and its partitions; those of several queries about one group together."""
    found: dict[str, tuple[Group, list[PartitionOffsets]]] = {}
    for query in queries:
        group, partitions = await read_group(query)
        earlier = found.get(query.group, (group, []))[1]
        found[query.group] = group, [*earlier, *partitions]
    return found


def print_group_heading(name: str, group: Group) -> None:
    members = f"{len(group.members)} members" if len(group.members) != 1 else "1 member"
    status = "there is no such group yet" if group.state == "Dead" else f"{group.state.lower()}, {members}"
    screen().print(styled("group ", (name, "bold"), f": {status}"))
