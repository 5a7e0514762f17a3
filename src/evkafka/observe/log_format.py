"""Formats log lines as JSON, one flat object per line, or as plain text."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from evkafka.serde.safe_text import escape_line, escape_multiline_text, truncate

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
    "failures",
    "duration_ms",
    "worker",
    "action",
    "address",
    "result",
)

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


MOST_CHARACTERS = 64 * 1024
"""Limit of a line with its traceback, and of a JSON field: the text of an error may contain a whole record."""


class PlainFormatter(logging.Formatter):
    """Formats log records as plain text in which the text of an error cannot imitate another log record.

    A message or traceback may quote data from a producer. Control characters are escaped, and all lines of a log record
    except its first are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        return escape_multiline_text(super().format(record), MOST_CHARACTERS).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """Formats log records as JSON, with all fields that were passed as `extra`, also by other packages.

    If OpenTelemetry's API is installed, a line that is logged in a span has its `trace_id` and `span_id`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": truncate(record.getMessage(), MOST_CHARACTERS),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        line |= {name: extra.pop(name) for name in FIELDS if name in extra}
        line |= extra
        if record.exc_info and record.exc_info[0] is not None:
            line["error.type"] = f"{record.exc_info[0].__module__}.{record.exc_info[0].__qualname__}"
            line["error.stack"] = truncate(self.formatException(record.exc_info), MOST_CHARACTERS)
        line |= _current_trace_ids()
        return escape_line(json.dumps(line, ensure_ascii=False, default=str))


def _current_trace_ids() -> dict[str, str]:
    try:
        from opentelemetry import trace
    except ImportError:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
