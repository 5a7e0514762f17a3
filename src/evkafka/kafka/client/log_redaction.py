"""No password in a log: at DEBUG the client writes every request, logins included (B4-22)."""

from __future__ import annotations

import logging


class LoginFilter(logging.Filter):
    """Replaces login requests and answers in a record's arguments by their bare name."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and any(map(_is_login, record.args)):
            record.args = tuple(f"{type(arg).__name__}(<hidden>)" if _is_login(arg) else arg for arg in record.args)
        return True


def _is_login(argument: object) -> bool:
    return type(argument).__name__.startswith("Sasl")


_login_filter = LoginFilter()


def hide_logins() -> None:
    """Filter the client's connection log. Adding the filter again changes nothing."""
    logging.getLogger("aiokafka.conn").addFilter(_login_filter)
