"""A place in a topic, as it is said on the command line: earliest, latest, a time, an offset, or so many back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from evkafka.cli.options import moment
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.groups import Bounds, bounds_of, offsets_for_time
from evkafka.kafka.admin.topics import topic_shapes
from evkafka.records import TopicPartition

EARLIEST, LATEST = "earliest", "latest"


@dataclass(frozen=True, slots=True)
class Position:
    """One of its attributes is set.

    Attributes:
        word: `earliest` or `latest`.
        offset: an offset, in each partition.
        time: the first record of then or later.
    """

    word: str | None = None
    offset: int | None = None
    time: datetime | None = None

    def __str__(self) -> str:
        if self.time is not None:
            return self.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.word or f"offset {self.offset}"


def read_place(option: str, text: str) -> Position:
    """
    Raises:
        ConfigError: it is no place.
    """
    if text in (EARLIEST, LATEST):
        return Position(word=text)
    if text.isdecimal():
        return Position(offset=int(text))
    try:
        return Position(time=moment(option, text))
    except ConfigError:
        raise ConfigError(
            f"{option} {text}: give earliest, latest, an offset, a time as 2026-01-31T12:00:00Z, or how long ago as 2h"
        ) from None


async def offsets_of(
    connection: ConnectionSettings, place: Position, bounds: Mapping[TopicPartition, Bounds]
) -> dict[TopicPartition, int]:
    """The offset in each partition; where there is none of that time, the partition's end. Within what there is."""
    if place.word == EARLIEST:
        return {at: one.first for at, one in bounds.items()}
    if place.word == LATEST:
        return {at: one.end for at, one in bounds.items()}
    if place.offset is not None:
        return {at: min(max(place.offset, one.first), one.end) for at, one in bounds.items()}
    assert place.time is not None
    found = await offsets_for_time(connection, list(bounds), int(place.time.timestamp() * 1000))
    return {at: found.get(at, one.end) for at, one in bounds.items()}


async def bounds_of_topic(
    connection: ConnectionSettings, topic: str, partition: int | None = None
) -> Mapping[TopicPartition, Bounds]:
    """
    Raises:
        ConfigError: there is no such topic, or no such partition of it.
    """
    import difflib

    shapes = await topic_shapes(connection)
    if topic not in shapes:
        near = difflib.get_close_matches(topic, shapes, n=1)
        servers = ",".join(connection.bootstrap_servers)
        raise ConfigError(
            f"there is no topic {topic!r} at {servers}" + (f": did you mean {near[0]!r}?" if near else "")
        )
    if partition is not None and partition >= shapes[topic].partitions:
        raise ConfigError(f"--partition {partition}: topic {topic!r} has {shapes[topic].partitions}, counted from 0")
    bounds = await bounds_of(connection, [topic])
    return {at: one for at, one in bounds.items() if partition is None or at.partition == partition}
