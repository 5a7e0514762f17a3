"""What was done with dead letters: `<topic>.state`, a compacted topic with one mark for each closed one. No I/O.

A mark closes the dead letter at its position. The mark also has the timestamp of the dead letter, so it closes nothing
in a later topic of the same name.

A mark of the old format has an id and a count. A count of 2 means that the record was closed twice: the mark closes
the dead letters of that id that had been replayed less than twice when they failed. Such marks are still read, for
dead letters that are older than they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from evkafka.dlq.dead_letter import DeadLetterPosition, DeadLetterRecord
from evkafka.kafka.admin.groups import Bounds
from evkafka.records import Record
from evkafka.runtime.dead_letters.replay_signature import SIGNING_KEY, parse_signing_key_or_none

Status = Literal["open", "replayed", "dropped"]
ClosedStatus = Literal["replayed", "dropped"]


@dataclass(frozen=True, slots=True)
class ReplayMark:
    """Closes a dead letter.

    Attributes:
        id: of the dead letter; in the old format, of the record.
        position, timestamp_ms: of the dead letter; None in the old format.
        count: in the old format, how often the record was closed.
    """

    status: ClosedStatus
    at: datetime
    id: str
    position: DeadLetterPosition | None = None
    timestamp_ms: int | None = None
    count: int = 0

    def as_bytes(self) -> bytes:
        assert self.position is not None
        fields = {
            "status": self.status,
            "at": self.at.isoformat(),
            "id": self.id,
            "partition": self.position.partition,
            "offset": self.position.offset,
            "timestamp": self.timestamp_ms,
        }
        return json.dumps(fields).encode()

    def closes(self, dead_letter: DeadLetterRecord) -> bool:
        timestamp_ms = dead_letter.record.timestamp
        if self.position is not None:
            return self.position == dead_letter.position and self.timestamp_ms == timestamp_ms
        was_counted = self.id == dead_letter.id and dead_letter.replays < self.count
        return was_counted and timestamp_ms <= self.at.timestamp() * 1000


def create_closing_mark(dead_letter: DeadLetterRecord, status: ClosedStatus) -> ReplayMark:
    timestamp_ms = dead_letter.record.timestamp
    return ReplayMark(status, datetime.now(UTC), dead_letter.id, dead_letter.position, timestamp_ms)


def parse_mark(key: str, value: bytes | None) -> ReplayMark | None:
    """Parse a record of the state topic; None if it is not a mark."""
    try:
        fields = json.loads(value or b"")
        status, at = fields["status"], datetime.fromisoformat(fields["at"])
        if status not in ("replayed", "dropped"):
            return None
        if "offset" not in fields:
            return ReplayMark(status, at, key, count=int(fields["count"]))
        position = DeadLetterPosition(int(fields["partition"]), int(fields["offset"]))
        return ReplayMark(status, at, str(fields["id"]), position, int(fields["timestamp"]))
    except (ValueError, KeyError, TypeError):
        return None


class ReplayState:
    """The content of a state topic.

    Attributes:
        signing_key: the key that signs replayed records; None before the first replay.
    """

    def __init__(self) -> None:
        self._marks: dict[str, ReplayMark] = {}  # by record key: a position; an id in the old format
        self.signing_key: bytes | None = None

    def apply(self, record: Record) -> None:
        """Apply one record. Call it in the order of the topic. A tombstone opens the dead letter again."""
        if record.key == SIGNING_KEY:
            self.signing_key = parse_signing_key_or_none(record.value)
            return
        key = (record.key or b"").decode(errors="replace")
        if (mark := parse_mark(key, record.value)) is not None:
            self._marks[key] = mark
        else:
            self._marks.pop(key, None)

    def count_closed(self, bounds: Mapping[int, Bounds]) -> int:
        """Count the closed dead letters in these partitions. A mark of the old format counts as one."""
        return sum(mark.position is None or _is_within(mark.position, bounds) for mark in self._marks.values())

    def status_of(self, dead_letter: DeadLetterRecord) -> Status:
        for key in (str(dead_letter.position), dead_letter.id):
            mark = self._marks.get(key)
            if mark is not None and mark.closes(dead_letter):
                return mark.status
        return "open"


def _is_within(position: DeadLetterPosition, bounds: Mapping[int, Bounds]) -> bool:
    partition = bounds.get(position.partition)
    return partition is not None and partition.first <= position.offset < partition.end
