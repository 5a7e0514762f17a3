"""The list of dead letters: one page of them, the newest first, with what the whole topic has of each status and error.

Kafka has no index, so a list reads the topic once: no more than `SEARCHED_MAX` of its records, the newest ones. Of what
it finds only the positions are kept, for the further pages; the dead letters of a page are read a second time.
"""

from __future__ import annotations

import glob
import logging
from collections import Counter
from dataclasses import dataclass, field, replace

from evkafka.dlq import DeadLetterFilter, DeadLetterPosition, DeadLetterRecord, DeadLetterTopic
from evkafka.dlq.dead_letter import OffsetRanges
from evkafka.dlq.state_topic import Status
from evkafka.kafka.admin.topic_reader import partition_numbers_by_topic
from evkafka.serde.formats.plain_reader import open_record_decoder
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.safe_text import NAME_CHARACTERS, escape_line
from evkafka.ui.models import DeadLetterCounts, DeadLetterGroup, DeadLetterRow, RecordAddress
from evkafka.ui.payload_text import (
    KEY_BYTES,
    error_message_as_text,
    headers_as_text,
    payload_as_text,
    record_value_as_text,
    traceback_as_text,
    unshowable_text,
)

logger = logging.getLogger("evkafka.web")

SEARCHED_MAX = 20_000
"""A list is about so many of a topic's records. A further one is about the records before them."""

ROWS_MAX = 200
"""Most dead letters of one page."""

GROUPS_COUNTED = 1000
GROUPS_SHOWN = 100

VALUE_BYTES = 4 * 1024


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which dead letters are listed.

    Attributes:
        wanted: its `within` is the part of the topic that an earlier page was about; None for the newest records.
        before: the part of an earlier list: list what is before it.
        status: None for any.
        skip, limit: the page, counted from the newest dead letter.
    """

    wanted: DeadLetterFilter = field(default_factory=DeadLetterFilter)
    before: OffsetRanges | None = None
    status: Status | None = "open"
    skip: int = 0
    limit: int = ROWS_MAX


@dataclass(frozen=True, slots=True)
class Listed:
    """The answer to a `ListQuery`.

    Attributes:
        counts: the dead letters that match the filter, by status.
        open: all open dead letters of the part that was searched.
        other: how many dead letters with the wanted status are in none of the groups.
        within: the part of the topic that was searched.
        older: how many older records were not searched.
    """

    rows: list[DeadLetterRow] = field(default_factory=list)
    counts: DeadLetterCounts = field(default_factory=lambda: DeadLetterCounts(open=0, replayed=0, dropped=0))
    open: int = 0
    groups: list[DeadLetterGroup] = field(default_factory=list)
    other: int = 0
    within: OffsetRanges = field(default_factory=dict)
    older: int = 0


class DeadLetterLists:
    """Lists dead letters. Keeps what the last search found, for its further pages."""

    def __init__(self) -> None:
        self._last: _Search | None = None

    async def find_page(
        self, topic: DeadLetterTopic, query: ListQuery, registry: SchemaRegistry | None = None
    ) -> Listed:
        """A page; an empty one if the topic does not exist yet: the first dead letter creates it.

        Args:
            registry: has the schemas of the values; None shows them as they are.
        """
        if not await partition_numbers_by_topic(topic.connection, [topic.name]):
            return Listed()
        search = self._last
        if search is None or not query.skip or not search.is_for_same_query(topic.name, query):
            search = self._last = await _search_topic(topic, query)
        page = search.page(query.skip, query.limit)
        rows: dict[DeadLetterPosition, DeadLetterRow] = {}
        async with open_record_decoder(registry) as decode:
            async for batch in topic.read_in_batches(page, ROWS_MAX):
                decoded = await decode([dead_letter.record for dead_letter in batch])
                for dead_letter, record in zip(batch, decoded, strict=True):
                    row = dead_letter_row(replace(dead_letter, record=record), page[dead_letter.position])
                    rows[dead_letter.position] = row
        return Listed(
            rows=[rows[position] for position in page if position in rows],
            counts=search.counts_by_status(),
            open=search.open,
            groups=search.groups.largest_groups(),
            other=search.groups.dead_letter_count_outside_largest_groups(),
            within=search.within,
            older=search.older,
        )


async def _search_topic(topic: DeadLetterTopic, query: ListQuery) -> _Search:
    within, older = query.wanted.offset_ranges(), 0
    if within is None:
        within, older = await topic.newest_ranges(SEARCHED_MAX, query.before)
    search = _Search(topic.name, query, within, older)
    async for dead_letter, status in topic.read(DeadLetterFilter(within=within), closed=True):
        search.add(dead_letter, status)
    search.sort()
    return search


class _Search:
    """Counts, groups and sorts the dead letters of a part of a topic."""

    def __init__(self, topic: str, query: ListQuery, within: OffsetRanges, older: int) -> None:
        self._topic = topic
        self._query = query
        self.within = within
        self.older = older
        self._counts: Counter[Status] = Counter()
        self._found: list[tuple[int, DeadLetterPosition, Status]] = []  # when it failed, in ms
        self.open = 0
        self.groups = _Groups()

    def is_for_same_query(self, topic: str, query: ListQuery) -> bool:
        """Whether this search has the pages of that query."""
        own = replace(self._query.wanted, within=self.within)
        return (topic, query.status, query.wanted) == (self._topic, self._query.status, own)

    def sort(self) -> None:
        """Sort what was found, the newest first."""
        self._found.sort(reverse=True)

    def add(self, dead_letter: DeadLetterRecord, status: Status) -> None:
        self.open += status == "open"
        if not self._query.wanted.matches(dead_letter):
            return
        self._counts[status] += 1
        if self._query.status in (None, status):
            self.groups.add(dead_letter)
            self._found.append((_failed_at_ms(dead_letter), dead_letter.position, status))

    def counts_by_status(self) -> DeadLetterCounts:
        counts = self._counts
        return DeadLetterCounts(open=counts["open"], replayed=counts["replayed"], dropped=counts["dropped"])

    def page(self, skip: int, limit: int) -> dict[DeadLetterPosition, Status]:
        return {position: status for _, position, status in self._found[skip : skip + limit]}


class _Groups:
    """Groups dead letters by the error's class and the event type. Those without a class are grouped by the reason."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str | None], DeadLetterGroup] = {}
        self._all = 0

    def add(self, dead_letter: DeadLetterRecord) -> None:
        self._all += 1
        error_type = dead_letter.error_type.rpartition(".")[2]
        event_type, message = dead_letter.event_type, error_message_as_text(dead_letter.error_message)
        name = error_type or message
        key = (name[:NAME_CHARACTERS], event_type and event_type[:NAME_CHARACTERS])
        at_ms = _failed_at_ms(dead_letter)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) == GROUPS_COUNTED:
                return
            # `--error` is a pattern for the class; if there is no class, it is a part of the message.
            whole_message = message if message == dead_letter.error_message else ""
            error = glob.escape(error_type) if error_type else whole_message
            group = self._groups[key] = DeadLetterGroup(
                error_type=escape_line(error_type, NAME_CHARACTERS),
                event_type=None if event_type is None else escape_line(event_type, NAME_CHARACTERS),
                error=_text_or_none_if_unshowable(error),
                message="",
                dead_letters=0,
                first_ms=at_ms,
                last_ms=at_ms,
            )
        group["dead_letters"] += 1
        group["first_ms"] = min(group["first_ms"], at_ms)
        if at_ms >= group["last_ms"]:
            group["last_ms"], group["message"] = at_ms, message

    def largest_groups(self) -> list[DeadLetterGroup]:
        by_number = sorted(self._groups.values(), key=lambda group: group["dead_letters"], reverse=True)
        return by_number[:GROUPS_SHOWN]

    def dead_letter_count_outside_largest_groups(self) -> int:
        return self._all - sum(group["dead_letters"] for group in self.largest_groups())


def _text_or_none_if_unshowable(text: str) -> str | None:
    """The text if it can be shown as it is; otherwise nobody could read what it selects."""
    return text if text and len(text) <= NAME_CHARACTERS and escape_line(text) == text else None


# ---------------------------------------------------------------------------- one row


def dead_letter_row(dead_letter: DeadLetterRecord, status: Status) -> DeadLetterRow:
    """One row. If the content cannot be shown, the row says so, and the other rows of the list are shown."""
    record = dead_letter.record
    try:
        key, value = payload_as_text(record.key, most=KEY_BYTES), record_value_as_text(record, most=VALUE_BYTES)
        headers = headers_as_text(record.headers)
    except Exception as error:
        logger.exception("dead letter %s[%d]@%d cannot be shown", record.topic, record.partition, record.offset)
        key, value, headers = None, unshowable_text(record.value, error), []
    event_type, timestamp_ms = dead_letter.event_type, dead_letter.timestamp_ms
    return DeadLetterRow(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        id=dead_letter.id,
        place=str(dead_letter.position),
        status=status,
        failed_at_ms=_failed_at_ms(dead_letter),
        event_type=None if event_type is None else escape_line(event_type, NAME_CHARACTERS),
        error_type=escape_line(dead_letter.error_type, NAME_CHARACTERS),
        error_message=error_message_as_text(dead_letter.error_message),
        origin=_origin_of(dead_letter),
        attempts=dead_letter.attempts,
        replays=dead_letter.replays,
        timestamp_ms=timestamp_ms if timestamp_ms is not None else record.timestamp,
        key=key,
        value=value,
        traceback=traceback_as_text(dead_letter.traceback, dead_letter.error_message),
        headers=headers,
    )


def _failed_at_ms(dead_letter: DeadLetterRecord) -> int:
    return int(dead_letter.failed_at.timestamp() * 1000)


def _origin_of(dead_letter: DeadLetterRecord) -> RecordAddress | None:
    topic, partition, offset = dead_letter.topic, dead_letter.partition, dead_letter.offset
    if topic is None or partition is None or offset is None:
        return None
    return RecordAddress(topic=escape_line(topic, NAME_CHARACTERS), partition=partition, offset=offset)
