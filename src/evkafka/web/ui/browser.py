"""The records' screen: what stands in the topics that this app has to do with."""

from __future__ import annotations

from collections import defaultdict

from evkafka.exceptions import ConfigError
from evkafka.ports import Record
from evkafka.runtime.kafka.browsing import excerpt, partition_numbers
from evkafka.settings import ConnectionSettings
from evkafka.web.ui.apart import Apart
from evkafka.web.ui.payloads import as_text, headers_as_text
from evkafka.web.ui.shapes import RecordRow, Records, TopicRow, Topics
from evkafka.web.ui.view import OperatedApp, Place, places

MOST = 100
LOOK_S = 20.0


async def topics_of(app: OperatedApp, apart: Apart) -> Topics:
    """The app's topics that are there, with their partitions.

    Raises:
        TimeoutError, BrokerError, TooBusy: a cluster did not say.
    """
    by_cluster: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    connections: dict[tuple[str, ...], ConnectionSettings] = {}
    for topic, place in places(app).items():
        servers = tuple(place.connection.bootstrap_servers)
        by_cluster[servers].append(topic)
        connections[servers] = place.connection
    rows: list[TopicRow] = []
    for servers, names in by_cluster.items():
        connection = connections[servers]
        found = await apart.run(lambda c=connection, n=names: partition_numbers(c, n), timeout_s=LOOK_S)  # type: ignore[misc]
        rows += [TopicRow(topic=topic, partitions=list(numbers)) for topic, numbers in found.items()]
    return Topics(topics=sorted(rows, key=lambda row: row["topic"]))


async def records_of(
    app: OperatedApp, apart: Apart, topic: str, partition: int, *, limit: int, offset: int | None, at_ms: int | None
) -> Records:
    """
    Raises:
        ConfigError: the app has nothing to do with this topic, or it has no such partition.
        TimeoutError, BrokerError, TooBusy: the cluster did not say.
    """
    known = places(app)
    if topic not in known:
        raise ConfigError(f"this app has nothing to do with topic {topic!r}; its topics: {', '.join(sorted(known))}")
    place, most = known[topic], max(1, min(limit, MOST))
    found = await apart.run(
        lambda: excerpt(place.connection, topic, partition, limit=most, offset=offset, at_ms=at_ms), timeout_s=LOOK_S
    )
    return Records(first=found.first, end=found.end, records=[_row(record, place) for record in found.records])


def _row(record: Record, place: Place) -> RecordRow:
    types = [value for name, value in record.headers if name == place.type_header and value is not None]
    return RecordRow(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        event_type=types[0].decode(errors="replace") if types else None,
        key=as_text(record.key),
        value=as_text(record.value),
        headers=headers_as_text(record.headers),
    )
