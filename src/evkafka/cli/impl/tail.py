"""`evkafka tail`: prints the records of a topic, and those that are written from now on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from evkafka.cli.connection import FoundCluster
from evkafka.cli.output import (
    bytes_to_json_value,
    bytes_to_text_or_base64,
    format_decoded_value,
    print_json_line,
)
from evkafka.cli.position import LATEST, Position, look_up_offsets, look_up_topic_bounds
from evkafka.cli.signals import interrupt_on_sigterm
from evkafka.kafka.admin.groups import Bounds
from evkafka.kafka.admin.log_pages import newest_by_time, read_newest_matches
from evkafka.kafka.admin.topic_reader import follow_topic
from evkafka.records import Record, TopicPartition, first_header
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.formats.plain_reader import PlainReader, PlainRecord, event_type_without_type_header
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.safe_text import NAME_CHARACTERS, escape_line, json_text, timestamp_to_datetime
from evkafka.service.topic_registries import registry_of_topic

MISSING: Any = object()

SEARCH_NOTE_S = 3.0
"""A search that takes longer says that it is searching."""

VALUE_CHARACTERS = 16 * 1024
"""A longer value is cut in the lines for people; `--json` has all of it."""


@dataclass(frozen=True, slots=True)
class RecordRange:
    """The part of a topic that is read.

    Attributes:
        start: where to begin; None for `last` records before the end, over all partitions.
        limit: the number of printed records after which to end.
        follow: wait for more records at the end.
    """

    topic: str
    partition: int | None = None
    start: Position | None = None
    last: int = 10
    limit: int | None = None
    follow: bool = True


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """The records that are printed. An empty or None attribute excludes nothing.

    Attributes:
        headers: name and value of each.
        fields: a dotted path into the payload, and the text of the value there.
        text: is part of the value.
    """

    event_types: tuple[str, ...] = ()
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    text: str | None = None

    def matches(self, record: Record, event_type: str | None) -> bool:
        if isinstance(record, UnreadRecord):
            return True  # its type and payload are not known
        return (
            (not self.event_types or event_type in self.event_types)
            and (self.key is None or record.key == self.key.encode())
            and all((name, value.encode()) in record.headers for name, value in self.headers)
            and (self.text is None or self.text.encode() in (record.value or b""))
            and (not self.fields or self._has_fields(bytes_to_json_value(record.value)))
        )

    def _has_fields(self, payload: Any) -> bool:
        return all(_field_text_for_comparison(_field_value(payload, path)) == text for path, text in self.fields)


def _field_value(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def _field_text_for_comparison(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is MISSING else json.dumps(value)


def event_type_of(record: Record, header: str) -> str | None:
    value = first_header(record, header)
    return value.decode(errors="replace") if value is not None else event_type_without_type_header(record)


def tail(
    found: FoundCluster,
    records: RecordRange,
    wanted: RecordFilter,
    *,
    as_json: bool,
    registry: SchemaRegistry | None = None,
) -> None:
    """Print the records. Returns at the end of the topic, after `limit` records, or after Ctrl-C.

    Args:
        registry: has the schemas of values in Avro, Protobuf or JSON Schema; default: the app's.

    Raises:
        ConfigError, BrokerError: there is no such topic, or it cannot be read.
    """
    interrupt_on_sigterm()
    printer = JsonPrinter(found.type_header) if as_json else LinePrinter(found.type_header)
    if registry is None and found.app is not None:
        registry = registry_of_topic(found.app, records.topic)
    try:
        asyncio.run(_Tail(found, records, wanted, printer, registry).run())
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # the reader of the pipe has gone: drop what is left in the buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Tail:
    """One run of `evkafka tail`."""

    def __init__(
        self,
        found: FoundCluster,
        records: RecordRange,
        wanted: RecordFilter,
        printer: JsonPrinter | LinePrinter,
        registry: SchemaRegistry | None,
    ) -> None:
        self._reader = PlainReader(registry) if registry is not None else None
        self._found = found
        self._range = records
        self._wanted = wanted
        self._print = printer
        self._left = records.limit
        self._printed = False

    async def run(self) -> None:
        try:
            await self._print_topic()
        finally:
            if self._reader is not None:
                await self._reader.close()

    async def _print_topic(self) -> None:
        connection, start = self._found.connection, self._range.start
        bounds = await look_up_topic_bounds(connection, self._range.topic, self._range.partition)
        starts = await look_up_offsets(connection, start or Position(keyword=LATEST), bounds)
        if start is None and self._range.last:
            self._print_records_until_limit(await self._read_last_matching_records(bounds))
        if self._left == 0:
            return
        if self._range.follow and not self._printed:
            print(f"waiting for records of {self._range.topic}; Ctrl-C stops", file=sys.stderr)
        ends = None if self._range.follow else {at.partition: one.end for at, one in bounds.items()}
        begin = {at.partition: offset for at, offset in starts.items()}
        async with aclosing(follow_topic(connection, self._range.topic, begin, ends)) as batches:
            async for batch in batches:
                self._print_records_until_limit(
                    [one for one in await self._decode_records_with_registry(batch) if self._matches(one)]
                )
                if self._left == 0:
                    return
        if not self._printed:
            print(f"no matching records in {self._range.topic}", file=sys.stderr)

    async def _read_last_matching_records(self, bounds: Mapping[TopicPartition, Bounds]) -> Sequence[Record]:
        """The newest of the last matching records of each partition, by time.

        First, that many offsets of each partition are read, of all partitions at once. Offsets do not count records:
        transaction markers and compaction leave gaps. If a partition has fewer matches there, and more before, the
        search goes back as far as needed.
        """
        last = self._range.last if self._left is None else min(self._range.last, self._left)
        starts = {at.partition: max(one.first, one.end - last) for at, one in bounds.items()}
        ends = {at.partition: one.end for at, one in bounds.items()}
        kept: list[Record] = []
        async for batch in follow_topic(self._found.connection, self._range.topic, starts, ends):
            kept += [one for one in await self._decode_records_with_registry(batch) if self._matches(one)]
        matches = Counter(one.partition for one in kept)
        if any(starts[at.partition] > one.first and matches[at.partition] < last for at, one in bounds.items()):
            return await self._search_back(ends, last)
        return newest_by_time(kept, last)

    async def _search_back(self, ends: Mapping[int, int], last: int) -> Sequence[Record]:
        """Search back from the ends until there are so many matches, or to the beginning of the topic."""
        note_at_s = asyncio.get_running_loop().time() + SEARCH_NOTE_S
        told = False

        async def decode(records: Sequence[Record]) -> Sequence[Record]:
            nonlocal told
            if not told and asyncio.get_running_loop().time() > note_at_s:
                print(f"searching {self._range.topic} for matching records; Ctrl-C stops", file=sys.stderr)
                told = True
            return await self._decode_records_with_registry(records)

        where = (self._found.connection, self._range.topic)
        return await read_newest_matches(*where, ends, last, self._matches, decode=decode)

    async def _decode_records_with_registry(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records, with values that have a schema as JSON."""
        return records if self._reader is None else await self._reader.convert_record_values_to_json(records)

    def _matches(self, record: Record) -> bool:
        return self._wanted.matches(record, event_type_of(record, self._found.type_header))

    def _print_records_until_limit(self, records: Sequence[Record]) -> None:
        for record in records[: self._left]:
            self._print(record)
            self._printed = True
            if self._left is not None:
                self._left -= 1


class JsonPrinter:
    """Prints a line of JSON for each record, in the form that `evkafka send --records` reads."""

    def __init__(self, type_header: str) -> None:
        self._type_header = type_header

    def __call__(self, record: Record) -> None:
        fields = self._json_fields(record)
        try:
            print_json_line(fields)
        except (ValueError, RecursionError):  # a number that JSON does not have, or nested too deep to be written
            print_json_line(fields | {"value": bytes_to_text_or_base64(record.value)})

    def _json_fields(self, record: Record) -> dict[str, Any]:
        time = timestamp_to_datetime(record.timestamp)
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": None if time is None else time.isoformat(timespec="milliseconds"),
            "timestamp_ms": record.timestamp,
            "type": event_type_of(record, self._type_header),
            "key": bytes_to_text_or_base64(record.key),
            "headers": [[name, bytes_to_text_or_base64(value)] for name, value in record.headers],
            "value": bytes_to_json_value(record.value),
            **({"unreadable": str(record)} if isinstance(record, UnreadRecord) else {}),
            **({"not_decoded": record.fault} if isinstance(record, PlainRecord) and record.fault else {}),
        }


class LinePrinter:
    """Prints a line for people for each record."""

    def __init__(self, type_header: str) -> None:
        self._type_header = type_header
        self._screen = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def __call__(self, record: Record) -> None:
        time = timestamp_to_datetime(record.timestamp)
        line = Text()
        line.append(f"{record.topic}[{record.partition}]@{record.offset}", "dim")
        line.append(f"  {record.timestamp if time is None else f'{time.astimezone():%H:%M:%S}'}", "dim")
        line.append(f"  {escape_line(event_type_of(record, self._type_header) or '-', NAME_CHARACTERS)}", "bold cyan")
        if record.key is not None:
            line.append(
                f"  key={escape_line(format_decoded_value(bytes_to_text_or_base64(record.key)), NAME_CHARACTERS)}",
                "yellow",
            )
        line.append(f"  {escape_line(self._value_text(record), VALUE_CHARACTERS)}")
        if isinstance(record, PlainRecord) and record.fault:
            line.append(f"  ({escape_line(record.fault, VALUE_CHARACTERS)})", "red")
        self._screen.print(line)
        sys.stdout.flush()

    def _value_text(self, record: Record) -> str:
        if isinstance(record, UnreadRecord):
            return str(record)
        if record.value is None:
            return "tombstone"
        try:
            value = bytes_to_json_value(record.value)
            return json_text(value, compact=False) if isinstance(value, (dict, list)) else format_decoded_value(value)
        except (ValueError, RecursionError):
            return format_decoded_value(bytes_to_text_or_base64(record.value))
