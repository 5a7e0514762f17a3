"""Sessions of browsers that have given the token. They are limited in number, and end with the process."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

SESSION_S = 12 * 3600.0
SESSIONS_MAX = 1000


class Sessions:
    """Sessions by the hash of their secret; the secret itself is not stored."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._ends_s: dict[bytes, float] = {}  # the oldest first

    def begin(self) -> str:
        """Return the secret of a new session. The oldest session ends if there are too many."""
        secret = secrets.token_urlsafe(32)
        if len(self._ends_s) >= SESSIONS_MAX:
            del self._ends_s[next(iter(self._ends_s))]
        self._ends_s[_hash_secret(secret)] = self._now() + SESSION_S
        return secret

    def has(self, secret: str) -> bool:
        key = _hash_secret(secret)
        end_s = self._ends_s.get(key)
        if end_s is None:
            return False
        if self._now() >= end_s:
            del self._ends_s[key]
            return False
        return True

    def end(self, secret: str) -> None:
        self._ends_s.pop(_hash_secret(secret), None)


def _hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
