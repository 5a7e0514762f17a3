"""What was done with dead letters: a compacted topic beside theirs, `<topic>.state`, with one mark for each id. Pure.

A mark counts: `count` 2 says that the record has been dealt with twice, so what is done with are its letters that had
been replayed less than twice when they failed. A record that fails once more after a replay thus comes back as an open
letter, and a second copy of one letter (written twice around a crash) is done with together with the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from evkafka.dlq.letters import Letter

Status = Literal["open", "replayed", "dropped"]


def state_topic(dead_letter_topic: str) -> str:
    return f"{dead_letter_topic}.state"


@dataclass(frozen=True, slots=True)
class Mark:
    status: Literal["replayed", "dropped"]
    count: int
    at: datetime

    def as_bytes(self) -> bytes:
        return json.dumps({"status": self.status, "count": self.count, "at": self.at.isoformat()}).encode()


def mark_of(letter: Letter, status: Literal["replayed", "dropped"]) -> Mark:
    return Mark(status, letter.replays + 1, datetime.now(UTC))


def read_mark(value: bytes | None) -> Mark | None:
    """None where there is none (a tombstone opens the letter again), or it is not one of ours."""
    if value is None:
        return None
    try:
        told = json.loads(value)
        status = told["status"]
        if status not in ("replayed", "dropped"):
            return None
        return Mark(status, int(told["count"]), datetime.fromisoformat(told["at"]))
    except (ValueError, KeyError, TypeError):
        return None


def status_of(letter: Letter, mark: Mark | None) -> Status:
    return "open" if mark is None or letter.replays >= mark.count else mark.status
