"""Who may read the page, and who may act.

Reading is open if only this machine can reach the page. Otherwise it needs the token, which a person enters in a form.
The form starts a session, whose cookie scripts cannot read. Acting always needs the token in a header: a page of
another site can make a browser send cookies, but not that header. A client that sends wrong tokens has to wait. Every
action, done or refused, is written to the log `evkafka.audit`.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Mapping

from starlette.requests import Request

from evkafka.http.security import RequestRefused, refuse_other_sites
from evkafka.serde.safe_text import escape_line, json_text, truncate
from evkafka.ui.sessions import Sessions
from evkafka.ui.wrong_tokens import WRONG_TOKENS_PERIOD_S, WrongTokenLimit

audit_logger = logging.getLogger("evkafka.audit")

COOKIE = "evkafka-ui"

STRONG_CHARACTERS = 16
"""Least length of a token, if other machines can reach the page."""

AUDIT_CHARACTERS = 2000


class Authenticator:
    """Decides which requests may read, and which may act.

    Args:
        token: the token for acting; None generates one for this run.
        open_to_read: True if only this machine can reach the page.
    """

    def __init__(self, token: str | None, *, open_to_read: bool) -> None:
        self.is_generated = token is None
        self.token = token or secrets.token_urlsafe(18)
        self.open_to_read = open_to_read
        self._sessions = Sessions()
        self._wrong_tokens = WrongTokenLimit()

    @property
    def is_weak(self) -> bool:
        """True if other machines can reach the page, and the token can be guessed."""
        return not self.open_to_read and (len(self.token) < STRONG_CHARACTERS or len(set(self.token)) < 6)

    # ------------------------------------------------------------------ reading

    def may_read(self, request: Request) -> bool:
        """
        Raises:
            RequestRefused: too many wrong tokens came from this address.
        """
        return self.open_to_read or self.has_session(request) or self._has_token(request)

    def has_session(self, request: Request) -> bool:
        return self._sessions.has(request.cookies.get(COOKIE, ""))

    def begin_session(self, request: Request, token: str) -> str | None:
        """Return the cookie of a new session; None if the token is wrong.

        Raises:
            RequestRefused: too many wrong tokens came from this address.
        """
        return self._sessions.begin() if self._is_right_token(request, token) else None

    def end_session(self, request: Request) -> None:
        """End the session of this browser, if it has one."""
        self._sessions.end(request.cookies.get(COOKIE, ""))

    # ------------------------------------------------------------------ acting

    def check_may_act(self, request: Request) -> None:
        """
        Raises:
            RequestRefused: the request comes from another site's page, or has no token.
        """
        refuse_other_sites(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestRefused(415, "an action is JSON: content-type application/json")
        if not self._has_token(request):
            raise RequestRefused(401, "the token is missing or wrong: send authorization: Bearer ...")

    def _has_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_right_token(request, token.strip())

    def _is_right_token(self, request: Request, token: str) -> bool:
        address = client_address(request)
        if wait_s := self._wrong_tokens.wait_s(address):
            raise RequestRefused(429, f"too many wrong tokens from {address}: try again in {wait_s:.0f} s")
        if hmac.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return True
        self._wrong_tokens.note_wrong(address)
        if self._wrong_tokens.wait_s(address):  # logged once: further tokens are refused above
            audit_logger.warning(
                "too many wrong tokens from %s: its tokens are refused for %.0f s", address, WRONG_TOKENS_PERIOD_S
            )
        return False


def client_address(request: Request) -> str:
    return request.client.host if request.client is not None else "unknown"


def log_action(request: Request, action: str, target: Mapping[str, object], result: str) -> None:
    """Log one line for an action, done or refused: from which address, what, on what, and the result."""
    address, result = client_address(request), escape_line(result, AUDIT_CHARACTERS)
    shown = truncate(json_text(target, compact=False), AUDIT_CHARACTERS)
    audit_logger.info(
        "%s from %s: %s: %s",
        action,
        address,
        shown,
        result,
        extra={"action": action, "address": address, "result": result},
    )
