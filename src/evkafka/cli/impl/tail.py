"""`evkafka tail`: what stands in a topic, and what comes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from evkafka.cli.connection import FoundCluster
from evkafka.cli.output import as_text, as_value, plain, print_line, shown
from evkafka.cli.position import LATEST, Position, bounds_of_topic, offsets_of
from evkafka.kafka.admin.log_reader import follow
from evkafka.records import Record
from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import NAME_CHARACTERS, json_text, time_of

MISSING: Any = object()

VALUE_CHARACTERS = 16 * 1024
"""Of a value as a person reads it; `--json` has all of it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are meant; what is empty or None excludes nothing.

    Attributes:
        headers: name -> value.
        fields: a dotted path in the payload -> its value, as text.
        text: stands somewhere in the value.
    """

    event_types: tuple[str, ...] = ()
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    text: str | None = None

    def takes(self, record: Record, event_type: str | None) -> bool:
        if isinstance(record, UnreadRecord):
            return True  # it may be one of them, or a batch of them
        return (
            (not self.event_types or event_type in self.event_types)
            and (self.key is None or record.key == self.key.encode())
            and all(
                any(name == one and value == text.encode() for name, value in record.headers)
                for one, text in self.headers
            )
            and (self.text is None or self.text.encode() in (record.value or b""))
            and (not self.fields or self._has_fields(as_value(record.value)))
        )

    def _has_fields(self, value: Any) -> bool:
        return all(_said(_at(value, path)) == text for path, text in self.fields)


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def _said(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is MISSING else json.dumps(value)


def event_type_of(record: Record, header: str) -> str | None:
    for name, value in record.headers:
        if name == header:
            return None if value is None else value.decode(errors="replace")
    return None


def tail(
    found: FoundCluster,
    topic: str,
    wanted: Wanted,
    *,
    start: Position | None,
    back: int,
    partition: int | None,
    limit: int | None,
    following: bool,
    as_json: bool,
) -> None:
    """Returns at the topic's end, after so many records, or when it is broken off.

    Args:
        start: where to begin; None for `back` records before the end, over all partitions.

    Raises:
        ConfigError, BrokerError: there is no such topic, or it cannot be read.
    """
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    say = _Json(found) if as_json else _Lines(found)
    work = _tail(found, topic, wanted, say, start, back, partition, limit, following)
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # the reader of a pipe has seen enough; what is left in the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _tail(
    found: FoundCluster,
    topic: str,
    wanted: Wanted,
    say: _Json | _Lines,
    start: Position | None,
    back: int,
    partition: int | None,
    limit: int | None,
    following: bool,
) -> None:
    bounds = await bounds_of_topic(found.connection, topic, partition)
    starts = await offsets_of(found.connection, start or Position(word=LATEST), bounds)
    said = 0
    back = back if limit is None else min(back, limit)
    if start is None and back:
        last = await _last(
            found, topic, wanted, {at.partition: (one.first, one.end) for at, one in bounds.items()}, back
        )
        for record in last:
            say(record)
        said = len(last)
    ends = None if following else {at.partition: one.end for at, one in bounds.items()}
    if limit is not None and said >= limit:
        return
    begin = {at.partition: one for at, one in starts.items()}
    async with aclosing(follow(found.connection, topic, begin, ends)) as batches:
        async for records in batches:
            for record in records:
                if wanted.takes(record, event_type_of(record, found.type_header)):
                    say(record)
                    said += 1
                    if said == limit:
                        return


async def _last(
    found: FoundCluster, topic: str, wanted: Wanted, bounds: dict[int, tuple[int, int]], many: int
) -> Sequence[Record]:
    """The last records that are wanted, over all partitions, by their time. Looks `many` offsets back in each."""
    starts = {number: max(first, end - many) for number, (first, end) in bounds.items()}
    ends = {number: end for number, (_, end) in bounds.items()}
    kept: list[Record] = []
    async for records in follow(found.connection, topic, starts, ends):
        kept += [one for one in records if wanted.takes(one, event_type_of(one, found.type_header))]
    return sorted(kept, key=lambda one: (one.timestamp, one.partition, one.offset))[-many:]


class _Json:
    """A line of JSON for each, as `evkafka send --records` takes them."""

    def __init__(self, found: FoundCluster) -> None:
        self._header = found.type_header

    def __call__(self, record: Record) -> None:
        told = self._told(record)
        try:
            print_line(told)
        except (ValueError, RecursionError):  # a number that JSON does not have, or nested too deep to be written
            print_line(told | {"value": as_text(record.value)})

    def _told(self, record: Record) -> dict[str, Any]:
        time = time_of(record.timestamp)
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": None if time is None else time.isoformat(timespec="milliseconds"),
            "timestamp_ms": record.timestamp,
            "type": event_type_of(record, self._header),
            "key": as_text(record.key),
            "headers": [[name, as_text(value)] for name, value in record.headers],
            "value": as_value(record.value),
            **({"unreadable": str(record)} if isinstance(record, UnreadRecord) else {}),
        }


class _Lines:
    """A line for a person."""

    def __init__(self, found: FoundCluster) -> None:
        self._header = found.type_header
        self._screen = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def __call__(self, record: Record) -> None:
        time = time_of(record.timestamp)
        line = Text()
        line.append(f"{record.topic}[{record.partition}]@{record.offset}", "dim")
        line.append(f"  {record.timestamp if time is None else f'{time.astimezone():%H:%M:%S}'}", "dim")
        line.append(f"  {plain(event_type_of(record, self._header) or '-', NAME_CHARACTERS)}", "bold cyan")
        if record.key is not None:
            line.append(f"  key={plain(shown(as_text(record.key)), NAME_CHARACTERS)}", "yellow")
        line.append(f"  {plain(self._value(record), VALUE_CHARACTERS)}")
        self._screen.print(line)
        sys.stdout.flush()

    def _value(self, record: Record) -> str:
        if isinstance(record, UnreadRecord):
            return str(record)
        if record.value is None:
            return "tombstone"
        try:
            value = as_value(record.value)
            return json_text(value, compact=False) if isinstance(value, (dict, list)) else shown(value)
        except (ValueError, RecursionError):
            return shown(as_text(record.value))
