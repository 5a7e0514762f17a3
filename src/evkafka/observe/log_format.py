"""Log lines as JSON: one object a line, flat, with the fields that the lines of this package carry."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

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


class JsonFormatter(logging.Formatter):
    """Formats records as JSON; also fields of other packages' lines, given as `extra`.

    With OpenTelemetry's API there, a line that is written inside of a span has its `trace_id` and `span_id`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        line |= {name: given.pop(name) for name in FIELDS if name in given}
        line |= given
        if record.exc_info and record.exc_info[0] is not None:
            line["error.type"] = f"{record.exc_info[0].__module__}.{record.exc_info[0].__qualname__}"
            line["error.stack"] = self.formatException(record.exc_info)
        line |= _trace()
        return json.dumps(line, ensure_ascii=False, default=str)


def _trace() -> dict[str, str]:
    try:
        from opentelemetry import trace
    except ImportError:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
