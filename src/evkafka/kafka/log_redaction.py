"""Keeps passwords out of the log: at DEBUG aiokafka logs every request, logins included.

See aiokafka-defects.md#passwords-in-the-log.
"""

from __future__ import annotations

import logging


class LoginFilter(logging.Filter):
    """Replaces login requests and answers among a log record's arguments by the name of their type."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and any(map(_is_sasl_message, record.args)):
            record.args = tuple(
                f"{type(arg).__name__}(<hidden>)" if _is_sasl_message(arg) else arg for arg in record.args
            )
        return True


def _is_sasl_message(argument: object) -> bool:
    return type(argument).__name__.startswith("Sasl")


_login_filter = LoginFilter()


def hide_logins() -> None:
    """Filter the log of aiokafka's connections, for good: a connection may still log while it closes.

    A second call changes nothing.
    """
    logging.getLogger("aiokafka.conn").addFilter(_login_filter)
