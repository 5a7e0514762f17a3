"""The text of an error in a log line."""

from __future__ import annotations

from collections.abc import Callable

from evkafka.exceptions import message_of
from evkafka.serde.safe_text import escape_line

ERROR_CHARACTERS = 2000


def error_text(error: BaseException, show: Callable[[BaseException], str] = repr) -> str:
    """The text of an error, shortened and on one line: it may quote a record."""
    return escape_line(message_of(error, show), ERROR_CHARACTERS)
