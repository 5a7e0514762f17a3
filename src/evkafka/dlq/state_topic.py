"""What was done with dead letters: a compacted topic beside theirs, `<topic>.state`, with one mark for each. Pure.

A mark closes one letter: the one at its place in the dead-letter topic. The letter's timestamp stands in the mark, so
that it closes nothing in a later dead-letter topic of that name.

Marks of an earlier form name an id, and count: 2 says that the record was dealt with twice, which closed the letters of
that id that had been replayed less than twice when they failed. They still count, for letters that are older than they
are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from evkafka.dlq.dead_letter import DeadLetterRecord, LetterPosition
from evkafka.kafka.admin.groups import Bounds
from evkafka.records import Record
from evkafka.runtime.dead_letters.replay_signature import SIGNING_KEY, read_signing_key

Status = Literal["open", "replayed", "dropped"]
Done = Literal["replayed", "dropped"]


@dataclass(frozen=True, slots=True)
class ReplayMark:
    """
    Attributes:
        id: of the letter; in the earlier form, what the mark is for.
        place, timestamp_ms: of the letter; None in the earlier form.
        count: in the earlier form, how often the record was dealt with.
    """

    status: Done
    at: datetime
    id: str
    place: LetterPosition | None = None
    timestamp_ms: int | None = None
    count: int = 0

    def as_bytes(self) -> bytes:
        assert self.place is not None
        told = {
            "status": self.status,
            "at": self.at.isoformat(),
            "id": self.id,
            "partition": self.place.partition,
            "offset": self.place.offset,
            "timestamp": self.timestamp_ms,
        }
        return json.dumps(told).encode()

    def closes(self, letter: DeadLetterRecord) -> bool:
        record = letter.record
        if self.place is not None:
            return self.place == letter.place and self.timestamp_ms == record.timestamp
        return self.id == letter.id and letter.replays < self.count and record.timestamp <= self.at.timestamp() * 1000


def mark_of(letter: DeadLetterRecord, status: Done) -> ReplayMark:
    return ReplayMark(status, datetime.now(UTC), letter.id, letter.place, letter.record.timestamp)


def read_mark(key: str, value: bytes | None) -> ReplayMark | None:
    """None if it is not one of ours."""
    try:
        told = json.loads(value or b"")
        status, at = told["status"], datetime.fromisoformat(told["at"])
        if status not in ("replayed", "dropped"):
            return None
        if "offset" not in told:
            return ReplayMark(status, at, key, count=int(told["count"]))
        place = LetterPosition(int(told["partition"]), int(told["offset"]))
        return ReplayMark(status, at, str(told["id"]), place, int(told["timestamp"]))
    except (ValueError, KeyError, TypeError):
        return None


class ReplayState:
    """A state topic, as it was read.

    Attributes:
        signing_key: what replays of these letters sign with; None before the first one.
    """

    def __init__(self) -> None:
        self._marks: dict[str, ReplayMark] = {}  # by place, or by id in the earlier form: the key of the record
        self.signing_key: bytes | None = None

    def take(self, record: Record) -> None:
        """Call it for each record, in the order of the topic. A tombstone opens the letter again."""
        if record.key == SIGNING_KEY:
            self.signing_key = read_signing_key(record.value)
            return
        key = (record.key or b"").decode(errors="replace")
        if (mark := read_mark(key, record.value)) is not None:
            self._marks[key] = mark
        else:
            self._marks.pop(key, None)

    def number_in(self, bounds: Mapping[int, Bounds]) -> int:
        """How many letters are closed in these partitions. A mark of the earlier form counts for one."""
        return sum(mark.place is None or _is_in(mark.place, bounds) for mark in self._marks.values())

    def status_of(self, letter: DeadLetterRecord) -> Status:
        for key in (str(letter.place), letter.id):
            mark = self._marks.get(key)
            if mark is not None and mark.closes(letter):
                return mark.status
        return "open"


def _is_in(place: LetterPosition, bounds: Mapping[int, Bounds]) -> bool:
    found = bounds.get(place.partition)
    return found is not None and found.first <= place.offset < found.end
