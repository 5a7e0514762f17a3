"""Groups the errors of attempts: those of one class at one endpoint are one group. Everything is limited in size."""

from __future__ import annotations

import hashlib
import traceback
from collections import deque
from dataclasses import dataclass, field

from evkafka.runtime.failure_cause import app_traceback, failure_message, failure_name
from evkafka.serde.safe_text import NAME_CHARACTERS, escape_line, escape_multiline_text
from evkafka.telemetry import AttemptFailed
from evkafka.ui.models import ErrorGroup, RecordAddress

GROUPS_MAX = 100
ADDRESSES_PER_GROUP = 5
MINUTES = 60
"""How far back the counts of each minute go."""

TRACEBACK_FRAMES = 50
TRACEBACK_CHARACTERS = 8 * 1024
MESSAGE_CHARACTERS = 1000


@dataclass(slots=True)
class _Group:
    row: ErrorGroup
    minutes: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MINUTES))  # (minute, errors in it)

    def count_error(self, at_s: float) -> None:
        minute, number = int(at_s // 60), 1
        if self.minutes and self.minutes[-1][0] == minute:
            number += self.minutes.pop()[1]
        self.minutes.append((minute, number))

    def counts_by_minute(self, now_s: float) -> list[int]:
        known, now = dict(self.minutes), int(now_s // 60)
        return [known.get(minute, 0) for minute in range(now - MINUTES + 1, now + 1)]


class ErrorGroups:
    """The groups with the newest errors."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def count_error(self, event: AttemptFailed, at_s: float) -> ErrorGroup:
        """Count an error. Returns its group."""
        error, at_ms = event.error, int(at_s * 1000)
        name = escape_line(failure_name(event.error, event.outcome), NAME_CHARACTERS)
        message = escape_multiline_text(event.reason if error is None else failure_message(error), MESSAGE_CHARACTERS)
        event_type = cut_event_type(event.event_type)
        words = "\0".join((name, event.endpoint, event_type or "", event.consumer))
        error_id = hashlib.sha256(words.encode()).hexdigest()[:12]
        group = self._groups.pop(error_id, None)
        if group is None:
            group = _Group(
                ErrorGroup(
                    id=error_id,
                    type=name,
                    message=message,
                    endpoint=event.endpoint,
                    event_type=event_type,
                    consumer=event.consumer,
                    count=0,
                    first_ms=at_ms,
                    last_ms=0,
                    counts=[],
                    traceback="",
                    records=[],
                    dead_lettered=0,
                )
            )
        self._groups[error_id] = group  # the newest is the last, the oldest is removed first
        if len(self._groups) > GROUPS_MAX:
            del self._groups[next(iter(self._groups))]
        row = group.row
        if at_ms - row["last_ms"] >= 1000:  # many errors at once: format one traceback a second
            row["traceback"] = "" if error is None else _format_traceback(error)
            row["message"] = message
        row["count"] += 1
        row["last_ms"] = at_ms
        row["dead_lettered"] += event.decision == "dead_letter"
        where = RecordAddress(topic=event.topic, partition=event.partition, offset=event.offset)
        row["records"] = [where, *(address for address in row["records"] if address != where)][:ADDRESSES_PER_GROUP]
        group.count_error(at_s)
        return row

    def group_id_of_record(self, record: RecordAddress) -> str | None:
        """The group of the newest error of this record, if it is known."""
        return next((id_ for id_, group in reversed(self._groups.items()) if record in group.row["records"]), None)

    def groups_newest_first(self, now_s: float) -> list[ErrorGroup]:
        """The groups, the newest first."""
        return [{**group.row, "counts": group.counts_by_minute(now_s)} for group in reversed(self._groups.values())]


def cut_event_type(event_type: str | None) -> str | None:
    """Escape and cut an event type: a producer may write any text."""
    return None if event_type is None else escape_line(event_type, NAME_CHARACTERS)


def _format_traceback(error: BaseException) -> str:
    """The last frames of each error in the chain. A recursion has a thousand, and this runs in the event loop."""
    try:
        formatted = traceback.TracebackException(
            type(error),
            error,
            app_traceback(error),
            limit=-TRACEBACK_FRAMES,
            max_group_width=5,
            max_group_depth=3,
            compact=True,
        )
        text = "".join(formatted.format())
    except Exception as failure:
        return f"{type(error).__name__}, whose traceback cannot be shown: {type(failure).__name__}"
    return escape_multiline_text(text[-TRACEBACK_CHARACTERS:])
