"""Log lines as JSON, one object a line, flat, with the fields that lines of this package carry; and as plain text."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from evkafka.serde.safe_text import cut, lines, one_line

FIELDS = (
    "consumer",
    "group_id",
    "client_id",
    "topic",
    "partition",
    "offset",
    "key_hash",
    "event_type",
    "handler",
    "attempt",
    "duration_ms",
    "worker",
    "action",
    "address",
    "result",
)

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


LONGEST = 64 * 1024
"""Characters of a line with its traceback, or of a field: an error's text may be a whole record."""


class PlainFormatter(logging.Formatter):
    """Formats records as plain text that no error's text can forge.

    A message or traceback may quote what somebody sent. Control characters are written as escapes, and all lines of a
    record but its first are indented: a line that is not is the beginning of one.
    """

    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record), LONGEST).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """Formats records as JSON; also fields of other packages' lines, given as `extra`.

    With OpenTelemetry's API there, a line that is written inside of a span has its `trace_id` and `span_id`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": cut(record.getMessage(), LONGEST),
        }
        given = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        line |= {name: given.pop(name) for name in FIELDS if name in given}
        line |= given
        if record.exc_info and record.exc_info[0] is not None:
            line["error.type"] = f"{record.exc_info[0].__module__}.{record.exc_info[0].__qualname__}"
            line["error.stack"] = cut(self.formatException(record.exc_info), LONGEST)
        line |= _trace()
        return _one_line_of(line)


def _one_line_of(line: dict[str, object]) -> str:
    text = json.dumps(line, ensure_ascii=False, default=str)
    return one_line(text)


def _trace() -> dict[str, str]:
    try:
        from opentelemetry import trace
    except ImportError:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
