"""Who may look, and who may act.

Looking is open where only this machine can reach the page; elsewhere it needs the token, given once in a form, and
kept in a cookie that no script can read. Acting needs the token in a header, always: another site's page can make a
browser send cookies, but not that header. What was done, and what was refused, leaves a line in the log
`evkafka.audit`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request

logger = logging.getLogger("evkafka")
audit_logger = logging.getLogger("evkafka.audit")

COOKIE = "evkafka-ui"
SAME_SITE = frozenset({"same-origin", "none"})
DAY_S = 86_400


class Refused(Exception):
    """Attributes:
    status: of the answer; the message is its sentence.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """Args:
    token: what acting needs; None makes one, for this run.
    open_to_read: True where only this machine can reach the page.
    """

    def __init__(self, token: str | None, *, open_to_read: bool) -> None:
        self.made = token is None
        self.token = token or secrets.token_urlsafe(18)
        self._open = open_to_read
        self._pass = hmac.new(self.token.encode(), b"evkafka-ui", hashlib.sha256).hexdigest()

    # ------------------------------------------------------------------ looking

    def may_look(self, request: Request) -> bool:
        if self._open or self._bears_token(request):
            return True
        return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self._pass.encode())

    def enter(self, token: str) -> str | None:
        """The cookie for whoever has the token; None for all others."""
        return self._pass if self._is_token(token) else None

    # ------------------------------------------------------------------ acting

    def check_order(self, request: Request) -> None:
        """
        Raises:
            Refused: it comes from another site's page, or without the token.
        """
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin")
        if site not in SAME_SITE or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
            raise Refused(403, "orders are taken from this page only, not from another site's")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "an order is JSON: content-type application/json")
        if not self._bears_token(request):
            raise Refused(401, "that needs the token: authorization: Bearer ...")

    def _bears_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_token(token.strip())

    def _is_token(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())


def audit(request: Request, action: str, target: Mapping[str, object], result: str) -> None:
    """One line for each order, done or refused: who, what, on what, how it ended."""
    who = request.client.host if request.client is not None else "unknown"
    what = json.dumps(target, ensure_ascii=True, default=str)
    audit_logger.info(
        "%s from %s: %s: %s", action, who, what, result, extra={"action": action, "address": who, "result": result}
    )
