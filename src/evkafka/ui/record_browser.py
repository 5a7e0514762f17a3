"""The screen of records: the topics of this app, and the records in them."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.log_pages import LogPage, PageLimits, read_page
from evkafka.kafka.admin.topic_reader import partition_numbers_by_topic
from evkafka.records import Record, first_header
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.formats.plain_reader import event_type_without_type_header, open_record_decoder
from evkafka.serde.safe_text import NAME_CHARACTERS, escape_line
from evkafka.service.topic_registries import registry_of_topic
from evkafka.ui.app_topics import app_topics
from evkafka.ui.background import BackgroundRunner
from evkafka.ui.models import RecordRange, RecordRow, Records, TopicList, TopicRow
from evkafka.ui.operated_app import OperatedApp
from evkafka.ui.payload_text import (
    KEY_BYTES,
    SHOWN_BYTES,
    headers_as_text,
    payload_as_text,
    record_value_as_text,
    unshowable_text,
)
from evkafka.ui.record_query import PARTITIONS_MAX, RecordQuery, format_cursor

logger = logging.getLogger("evkafka.web")

READ_TIMEOUT_S = 20.0

EXAMINED_MAX = 50_000
SEARCH_S = 4.0
"""A request reads no more records, and no longer, than this. The page asks for the next ones."""

READ_MAX_BYTES = 16 * 1024 * 1024
"""Size limit of all values of an answer together, before they are converted to text."""

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
        read = partial(partition_numbers_by_topic, connections[servers], names)
        existing = await background.run(read, timeout_s=READ_TIMEOUT_S)
        rows += [TopicRow(topic=name, partitions=list(numbers)) for name, numbers in existing.items()]
    return TopicList(topics=sorted(rows, key=lambda row: row["topic"]))


async def read_records(app: OperatedApp, background: BackgroundRunner, query: RecordQuery) -> Records:
    """Read a page of records.

    Raises:
        ConfigError: the topic is not one of the app's, or has no such partition.
        TimeoutError, BrokerError, TooBusy: the cluster did not answer.
    """
    known = app_topics(app)
    if query.topic not in known:
        names = ", ".join(sorted(known))
        raise ConfigError(f"this app does not read or write topic {query.topic!r}; its topics: {names}")
    connection, type_header = known[query.topic].connection, known[query.topic].type_header
    registry = registry_of_topic(app, query.topic)
    limits = PageLimits(query.limit, EXAMINED_MAX, READ_MAX_BYTES, SEARCH_S, PARTITIONS_MAX)

    async def read() -> Records:
        where = (connection, query.topic, query.partition)
        async with open_record_decoder(registry) as decode:
            page = await read_page(*where, query.start, limits, query.filter.matches, decode=decode)
        return _create_answer(
            page, [record_row(record, type_header, ANSWER_BYTES // query.limit) for record in page.records]
        )

    return await background.run(read, timeout_s=READ_TIMEOUT_S)


def _create_answer(page: LogPage, rows: list[RecordRow]) -> Records:
    ranges = page.ranges
    older = {number: one.begin for number, one in ranges.items()}
    newer = {number: one.stop for number, one in ranges.items()}
    return Records(
        partitions=[
            RecordRange(partition=number, first=one.first, end=one.end, begin=one.begin, stop=one.stop)
            for number, one in ranges.items()
        ],
        reached_ms=page.reached_ms,
        older=format_cursor("before", older) if any(one.begin > one.first for one in ranges.values()) else None,
        newer=format_cursor("after", newer) if any(one.stop < one.end for one in ranges.values()) else None,
        records=rows,
    )


def record_row(record: Record, type_header: str, value_bytes: int) -> RecordRow:
    """One row. If the record cannot be shown, the row says so, and the other rows of the list are shown."""
    event_type, key, value, headers = None, None, None, []
    try:
        value = record_value_as_text(record, most=min(value_bytes, SHOWN_BYTES))
        if not isinstance(record, UnreadRecord):
            own_type = first_header(record, type_header)
            event_type = own_type[: 4 * NAME_CHARACTERS].decode(errors="replace") if own_type is not None else None
            if event_type is None:
                event_type = event_type_without_type_header(record)
            key = payload_as_text(record.key, most=KEY_BYTES)
            headers = headers_as_text(record.headers)
    except Exception as error:
        logger.exception("%s[%d]@%d cannot be shown", record.topic, record.partition, record.offset)
        event_type, key, value, headers = None, None, unshowable_text(record.value, error), []
    return RecordRow(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        event_type=None if event_type is None else escape_line(event_type, NAME_CHARACTERS),
        key=key,
        value=value,
        headers=headers,
    )
