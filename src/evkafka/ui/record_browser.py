"""The screen of records: the topics of this app, and the records in them."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_reader import excerpt, partition_numbers
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import NAME_CHARACTERS, one_line
from evkafka.ui.app_topics import app_topics
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.models import RecordRow, Records, TopicList, TopicRow
from evkafka.ui.operated_app import OperatedApp
from evkafka.ui.payload_text import KEY_BYTES, SHOWN_BYTES, as_text, headers_as_text, unreadable, unshowable

logger = logging.getLogger("evkafka.web")

RECORDS_MAX = 100
READ_TIMEOUT_S = 20.0

READ_MAX_BYTES = 16 * 1024 * 1024
"""No more records are read after this many bytes. The page asks for the next ones."""

ANSWER_BYTES = 1024 * 1024
"""Size limit of all values of an answer together, as text."""


async def list_topics(app: OperatedApp, background: BackgroundRunner) -> TopicList:
    """The app's topics that exist, with their partitions.

    Raises:
        TimeoutError, BrokerError, TooBusy: a cluster did not answer.
    """
    by_cluster: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    connections: dict[tuple[str, ...], ConnectionSettings] = {}
    for name, topic in app_topics(app).items():
        servers = tuple(topic.connection.bootstrap_servers)
        by_cluster[servers].append(name)
        connections[servers] = topic.connection
    rows: list[TopicRow] = []
    for servers, names in by_cluster.items():
        read = partial(partition_numbers, connections[servers], names)
        existing = await background.run(read, timeout_s=READ_TIMEOUT_S)
        rows += [TopicRow(topic=name, partitions=list(numbers)) for name, numbers in existing.items()]
    return TopicList(topics=sorted(rows, key=lambda row: row["topic"]))


async def read_records(
    app: OperatedApp,
    background: BackgroundRunner,
    topic: str,
    partition: int,
    *,
    limit: int,
    offset: int | None,
    at_ms: int | None,
) -> Records:
    """Read some records of a partition: from `offset`, or from the time `at_ms`; the newest ones without either.

    Raises:
        ConfigError: the topic is not one of the app's, or has no such partition.
        TimeoutError, BrokerError, TooBusy: the cluster did not answer.
    """
    known = app_topics(app)
    if topic not in known:
        raise ConfigError(f"this app has nothing to do with topic {topic!r}; its topics: {', '.join(sorted(known))}")
    connection, type_header = known[topic].connection, known[topic].type_header
    limit = max(1, min(limit, RECORDS_MAX))

    async def read() -> Records:
        found = await excerpt(
            connection, topic, partition, limit=limit, offset=offset, at_ms=at_ms, most_bytes=READ_MAX_BYTES
        )
        rows = [record_row(record, type_header, ANSWER_BYTES // limit) for record in found.records]
        return Records(first=found.first, end=found.end, records=rows)

    return await background.run(read, timeout_s=READ_TIMEOUT_S)


def record_row(record: Record, type_header: str, value_bytes: int) -> RecordRow:
    """One row. If the record cannot be shown, the row says so, and the other rows of the list are shown."""
    event_type, key, value, headers = None, None, None, []
    try:
        if isinstance(record, UnreadRecord):
            value = unreadable(record)
        else:
            types = [value for name, value in record.headers if name == type_header and value is not None]
            event_type = types[0][: 4 * NAME_CHARACTERS].decode(errors="replace") if types else None
            key = as_text(record.key, most=KEY_BYTES)
            value = as_text(record.value, most=min(value_bytes, SHOWN_BYTES))
            headers = headers_as_text(record.headers)
    except Exception as error:
        logger.exception("%s[%d]@%d cannot be shown", record.topic, record.partition, record.offset)
        event_type, key, value, headers = None, None, unshowable(record.value, error), []
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
