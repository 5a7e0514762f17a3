"""Who may look, and who may act.

Looking is open if only this machine can reach the page; elsewhere it needs the token, given once in a form. The form
begins a session, whose cookie no script can read. Acting needs the token in a header, always: another site's page can
make a browser send cookies, but not that header. Whoever gives wrong tokens has to wait. What was done, and what was
refused, leaves a line in the log `evkafka.audit`.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Mapping

from starlette.requests import Request

from evkafka.serde.safe_text import cut, json_text, one_line
from evkafka.ui.sessions import GUESSES_S, Guesses, Sessions
from evkafka.web.security import Refused, check_site

logger = logging.getLogger("evkafka")
audit_logger = logging.getLogger("evkafka.audit")

COOKIE = "evkafka-ui"

STRONG_CHARACTERS = 16
"""A token that others may guess at has at least so many."""

AUDIT_CHARACTERS = 2000


class Authenticator:
    """Args:
    token: what acting needs; None makes one, for this run.
    open_to_read: True if only this machine can reach the page.
    """

    def __init__(self, token: str | None, *, open_to_read: bool) -> None:
        self.made = token is None
        self.token = token or secrets.token_urlsafe(18)
        self.open_to_read = open_to_read
        self._sessions = Sessions()
        self._guesses = Guesses()

    @property
    def is_weak(self) -> bool:
        """Others can reach the page, and need not guess long."""
        return not self.open_to_read and (len(self.token) < STRONG_CHARACTERS or len(set(self.token)) < 6)

    # ------------------------------------------------------------------ looking

    def may_look(self, request: Request) -> bool:
        """
        Raises:
            Refused: too many wrong tokens came from this address.
        """
        return self.open_to_read or self.has_session(request) or self._bears_token(request)

    def has_session(self, request: Request) -> bool:
        return self._sessions.has(request.cookies.get(COOKIE, ""))

    def enter(self, request: Request, token: str) -> str | None:
        """The cookie of a session for whoever has the token; None for all others.

        Raises:
            Refused: too many wrong tokens came from this address.
        """
        return self._sessions.begin() if self._is_token(request, token) else None

    def leave(self, request: Request) -> None:
        """End the session of this browser, if it has one."""
        self._sessions.end(request.cookies.get(COOKIE, ""))

    # ------------------------------------------------------------------ acting

    def check_order(self, request: Request) -> None:
        """
        Raises:
            Refused: it comes from another site's page, or without the token.
        """
        check_site(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "an order is JSON: content-type application/json")
        if not self._bears_token(request):
            raise Refused(401, "that needs the token: authorization: Bearer ...")

    def _bears_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_token(request, token.strip())

    def _is_token(self, request: Request, token: str) -> bool:
        who = address_of(request)
        if wait_s := self._guesses.wait_s(who):
            raise Refused(429, f"too many wrong tokens came from {who}: try again in {wait_s:.0f} s")
        if hmac.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return True
        self._guesses.note_wrong(who)
        if self._guesses.wait_s(who):  # said once: whoever goes on guessing does not fill the log
            audit_logger.warning("too many wrong tokens from %s: no more are looked at for %.0f s", who, GUESSES_S)
        return False


def address_of(request: Request) -> str:
    return request.client.host if request.client is not None else "unknown"


def audit(request: Request, action: str, target: Mapping[str, object], result: str) -> None:
    """One line for each order, done or refused: who, what, on what, how it ended."""
    who, result = address_of(request), one_line(result, AUDIT_CHARACTERS)
    what = cut(json_text(target, compact=False), AUDIT_CHARACTERS)
    audit_logger.info(
        "%s from %s: %s: %s", action, who, what, result, extra={"action": action, "address": who, "result": result}
    )
