"""Who has given the token, and who guesses it. Both are bounded, and end with the process."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from evkafka.web.security import network_of

SESSION_S = 12 * 3600.0
SESSIONS = 1000

GUESSES = 10
GUESSES_S = 60.0
"""So many wrong tokens an address may give in this time."""

ADDRESSES = 1000
REST = "the rest"


class Sessions:
    """Browsers that were let in by the form, each with a secret of its own, which ends.

    Only the hash of a secret is kept.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._ends_s: dict[bytes, float] = {}  # the oldest first

    def begin(self) -> str:
        """The secret of a new session; the oldest one ends if there are too many."""
        secret = secrets.token_urlsafe(32)
        if len(self._ends_s) >= SESSIONS:
            del self._ends_s[next(iter(self._ends_s))]
        self._ends_s[_hash(secret)] = self._now() + SESSION_S
        return secret

    def has(self, secret: str) -> bool:
        name = _hash(secret)
        end_s = self._ends_s.get(name)
        if end_s is None:
            return False
        if self._now() >= end_s:
            del self._ends_s[name]
            return False
        return True

    def end(self, secret: str) -> None:
        self._ends_s.pop(_hash(secret), None)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


class Guesses:
    """Wrong tokens by address. Addresses that are too many to be kept count together."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: dict[str, tuple[float, int]] = {}  # address -> (when the first one was, how many)

    def wait_s(self, host: str) -> float:
        """For how long this address may not try again; 0 if it may."""
        first_s, wrong = self._wrong.get(self._key(host), (0.0, 0))
        left_s = first_s + GUESSES_S - self._now()
        return left_s if wrong >= GUESSES and left_s > 0 else 0.0

    def note_wrong(self, host: str) -> None:
        key = self._key(host)
        first_s, wrong = self._wrong.get(key, (self._now(), 0))
        if self._now() - first_s >= GUESSES_S:
            first_s, wrong = self._now(), 0
        self._wrong[key] = first_s, wrong + 1

    def _key(self, host: str) -> str:
        key = network_of(host)
        if key not in self._wrong and len(self._wrong) >= ADDRESSES:
            self._forget_old()
        return key if key in self._wrong or len(self._wrong) < ADDRESSES else REST

    def _forget_old(self) -> None:
        end_s = self._now() - GUESSES_S
        self._wrong = {key: one for key, one in self._wrong.items() if one[0] > end_s}
