"""What groups have committed against what their topics hold, for `evkafka lag` and `evkafka offsets`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from evkafka.cli.connection import FoundCluster
from evkafka.cli.output import counted, stdout_console, styled_line
from evkafka.cli.position import known_topic_shape_or_raise
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.groups import (
    Bounds,
    Group,
    GroupCommit,
    Member,
    describe_group,
    group_commits,
    offset_bounds_of_topics,
)
from evkafka.kafka.admin.topic_ids import look_up_topic_ids
from evkafka.kafka.admin.topics import all_topic_shapes
from evkafka.records import TopicPartition
from evkafka.runtime.commit_metadata import Unusable, group_and_partition_text_for_checksum, parse_metadata_or_raise
from evkafka.runtime.completed_offsets import OffsetRanges

NOTHING = OffsetRanges()


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """A group and the topics that are looked at; without topics, all in which the group has committed.

    Attributes:
        named: the topics are named on the command line, so each must exist.
    """

    connection: ConnectionSettings
    group: str
    topics: tuple[str, ...] = ()
    named: bool = False


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """One partition as one group has read it.

    Attributes:
        committed: None if the group has committed nothing there.
        finished: offsets after that one that are finished, according to the commit's metadata: they count as lag and
            are not handled again.
    """

    group: str
    at: TopicPartition
    committed: int | None
    bounds: Bounds
    finished: OffsetRanges = NOTHING

    @property
    def done_ahead(self) -> int:
        return self.finished.offset_count

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
        return [GroupQuery(found.connection, group, topics, named=True)]
    if found.app is None:
        raise ConfigError("name the group, or an app with --app MODULE:APP")
    consumers = [found.consumer] if found.consumer is not None else list(found.app.consumers.values())
    queries = [
        GroupQuery(
            settings.connection,
            settings.group_id,
            topics or tuple(topic.name for topic in settings.topics),
            named=bool(topics),
        )
        for settings in (one.settings for one in consumers)
        if settings.group_id is not None
    ]
    if not queries:
        raise ConfigError("no consumer of this app has a group_id")
    return queries


async def read_group(query: GroupQuery) -> tuple[Group, list[PartitionOffsets]]:
    """
    Raises:
        ConfigError: a topic that was named does not exist.
        BrokerUnavailable, BrokerRefused, BrokerError: the cluster did not answer.
    """
    group = await describe_group(query.connection, query.group)
    committed = await group_commits(query.connection, query.group)
    existing = await all_topic_shapes(query.connection)
    for topic in query.topics if query.named else ():
        known_topic_shape_or_raise(query.connection, topic, existing)
    topics = {topic for topic in query.topics or {at.topic for at in committed} if topic in existing}
    bounds = await offset_bounds_of_topics(query.connection, topics) if topics else {}
    finished = await _find_finished_ranges(query, {at: committed[at] for at in bounds if at in committed})
    return group, [
        PartitionOffsets(
            query.group, at, commit.offset if (commit := committed.get(at)) else None, one, finished.get(at, NOTHING)
        )
        for at, one in sorted(bounds.items())
    ]


async def _find_finished_ranges(
    query: GroupQuery, commits: Mapping[TopicPartition, GroupCommit]
) -> dict[TopicPartition, OffsetRanges]:
    """The offsets after the committed one that are finished; without partitions whose metadata says nothing of it."""
    topics = {at.topic for at, commit in commits.items() if commit.metadata}
    if not topics:
        return {}
    topic_ids = (await look_up_topic_ids(query.connection, topics)).topics
    finished = {}
    for at, (offset, metadata) in commits.items():
        with suppress(Unusable):  # another program's, or from before the topic was created again
            found = parse_metadata_or_raise(
                metadata, offset, topic_ids.get(at.topic, ""), group_and_partition_text_for_checksum(query.group, at)
            )
            finished[at] = OffsetRanges(found.finished)
    return finished


async def read_groups(queries: list[GroupQuery]) -> dict[str, tuple[Group, list[PartitionOffsets]]]:
    """Each group and its partitions; those of several queries about one group together."""
    found: dict[str, tuple[Group, list[PartitionOffsets]]] = {}
    for query in queries:
        group, partitions = await read_group(query)
        earlier = found.get(query.group, (group, []))[1]
        found[query.group] = group, [*earlier, *partitions]
    return found


def print_group_heading(name: str, group: Group, partitions: list[PartitionOffsets]) -> None:
    """One line about a group. It is all that there is to say of a group without partitions."""
    members = counted(len(group.members), "member")
    if group.state == "Dead":
        status = "unknown, no members, no committed offsets"
    else:
        status = f"{group.state.lower()}, {members}{_protocol_text(group)}" + (
            "" if partitions else ", no committed offsets"
        )
    stdout_console().print(styled_line("group ", (name, "bold"), f": {status}"))


def _protocol_text(group: Group) -> str:
    if group.epoch is not None:
        return f", {group.protocol} protocol, epoch {group.epoch}"
    return f", {group.protocol} protocol" if group.members else ""


def print_member(member: Member) -> None:
    """One line about a member; in a group of the consumer protocol with its epoch, and whether it is up to date."""
    details = []
    if member.epoch is not None:
        details = [f"{member.protocol} protocol", f"epoch {member.epoch}"]
    if member.is_moving:
        details.append("its partitions are changing")
    if member.is_away:
        details.append("stopped; its partitions wait for it")
    more = f": {', '.join(details)}" if details else ""
    stdout_console().print(styled_line("member ", (member.client_id, "bold"), f" on {member.host}{more}"))
