"""The records' screen: what stands in the topics that this app has to do with."""

from __future__ import annotations

import logging
from collections import defaultdict

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_reader import excerpt, partition_numbers
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import NAME_CHARACTERS, one_line
from evkafka.ui.app_view import OperatedApp, Place, places
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.models import RecordRow, Records, TopicRow, Topics
from evkafka.ui.payload_text import KEY_BYTES, SHOWN_BYTES, as_text, headers_as_text, not_read, not_shown

logger = logging.getLogger("evkafka.web")

MOST = 100
LOOK_S = 20.0

READ_BYTES = 16 * 1024 * 1024
"""After so many bytes no more records are read: the page asks for the next ones."""

ANSWER_BYTES = 1024 * 1024
"""All values of an answer together, as text."""


async def topics_of(app: OperatedApp, apart: BackgroundRunner) -> Topics:
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
    app: OperatedApp,
    apart: BackgroundRunner,
    topic: str,
    partition: int,
    *,
    limit: int,
    offset: int | None,
    at_ms: int | None,
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

    async def look() -> Records:
        found = await excerpt(
            place.connection, topic, partition, limit=most, offset=offset, at_ms=at_ms, most_bytes=READ_BYTES
        )
        rows = [_row(record, place, ANSWER_BYTES // most) for record in found.records]
        return Records(first=found.first, end=found.end, records=rows)

    return await apart.run(look, timeout_s=LOOK_S)


def _row(record: Record, place: Place, most: int) -> RecordRow:
    """A record that cannot be shown is a row that says so: the others of its list are shown."""
    if isinstance(record, UnreadRecord):
        return RecordRow(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            event_type=None,
            key=None,
            value=not_read(record),
            headers=[],
        )
    try:
        types = [value for name, value in record.headers if name == place.type_header and value is not None]
        event_type = types[0][: 4 * NAME_CHARACTERS].decode(errors="replace") if types else None
        key, value = as_text(record.key, most=KEY_BYTES), as_text(record.value, most=min(most, SHOWN_BYTES))
        headers = headers_as_text(record.headers)
    except Exception as error:
        logger.exception("%s[%d]@%d cannot be shown", record.topic, record.partition, record.offset)
        event_type, key, headers = None, None, []
        value = not_shown(record.value, error)
    return RecordRow(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        event_type=None if event_type is None else one_line(event_type, NAME_CHARACTERS),
        key=key,
        value=value,
        headers=headers,
    )
