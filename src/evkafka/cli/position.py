"""A position in a topic as a command-line option gives it: earliest, latest, an offset, a time, or a time ago."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from evkafka.cli.options import parse_time
from evkafka.cli.suggestions import nearest_name
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.groups import Bounds, offset_bounds_of_topics, offsets_for_time
from evkafka.kafka.admin.topics import TopicShape, all_topic_shapes
from evkafka.records import TopicPartition

EARLIEST, LATEST = "earliest", "latest"


@dataclass(frozen=True, slots=True)
class Position:
    """A position in each partition of a topic. Exactly one attribute is set.

    Attributes:
        keyword: `earliest` or `latest`.
        offset: this offset in each partition.
        time: the first record of this time or later.
    """

    keyword: str | None = None
    offset: int | None = None
    time: datetime | None = None

    def __str__(self) -> str:
        if self.time is not None:
            return self.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.keyword or f"offset {self.offset}"


def parse_position(option: str, text: str) -> Position:
    """Parse the value of an option that takes a position.

    Raises:
        ConfigError: the text is no position.
    """
    if text in (EARLIEST, LATEST):
        return Position(keyword=text)
    if text.isdecimal():
        return Position(offset=int(text))
    try:
        return Position(time=parse_time(option, text))
    except ConfigError:
        raise ConfigError(
            f"{option} {text}: give earliest, latest, an offset, a time as 2026-01-31T12:00:00Z, or an age as 2h"
        ) from None


async def look_up_offsets(
    connection: ConnectionSettings, position: Position, bounds: Mapping[TopicPartition, Bounds]
) -> dict[TopicPartition, int]:
    """The offset of a position in each partition, within the partition's bounds.

    A partition without a record of this time or later gets its end.
    """
    match position:
        case Position(keyword="earliest"):
            return {partition: one.first for partition, one in bounds.items()}
        case Position(keyword="latest"):
            return {partition: one.end for partition, one in bounds.items()}
        case Position(offset=int(offset)):
            return {partition: min(max(offset, one.first), one.end) for partition, one in bounds.items()}
    assert position.time is not None
    found = await offsets_for_time(connection, list(bounds), int(position.time.timestamp() * 1000))
    return {partition: found.get(partition, one.end) for partition, one in bounds.items()}


async def look_up_partition_and_replica_counts(
    connection: ConnectionSettings, topic: str, *, otherwise: str | None = None
) -> TopicShape:
    """The number of partitions of a topic, and of replicas of each.

    Args:
        otherwise: what to do if there is no topic with a similar name.

    Raises:
        ConfigError: there is no such topic.
    """
    return known_topic_shape_or_raise(connection, topic, await all_topic_shapes(connection), otherwise=otherwise)


def known_topic_shape_or_raise(
    connection: ConnectionSettings, topic: str, shapes: Mapping[str, TopicShape], *, otherwise: str | None = None
) -> TopicShape:
    """As `look_up_partition_and_replica_counts`, with the topics that were read before."""
    if topic in shapes:
        return shapes[topic]
    near = nearest_name(topic, shapes)
    hint = otherwise if near is None else f"did you mean {near!r}?"
    servers = ",".join(connection.bootstrap_servers)
    raise ConfigError(f"topic {topic!r} does not exist at {servers}" + (f": {hint}" if hint else ""))


async def look_up_topic_bounds(
    connection: ConnectionSettings, topic: str, partition: int | None = None
) -> Mapping[TopicPartition, Bounds]:
    """First and end offset of the topic's partitions, or of one.

    Raises:
        ConfigError: there is no such topic, or it has no such partition.
    """
    shape = await look_up_partition_and_replica_counts(connection, topic)
    if partition is not None and partition >= shape.partitions:
        raise ConfigError(f"--partition {partition}: topic {topic!r} has the partitions 0 to {shape.partitions - 1}")
    bounds = await offset_bounds_of_topics(connection, [topic])
    return {at: one for at, one in bounds.items() if partition is None or at.partition == partition}
