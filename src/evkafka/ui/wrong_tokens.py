"""Limits how many wrong tokens a client may send."""

from __future__ import annotations

import time
from collections.abc import Callable

from evkafka.http.security import ipv4_address_or_ipv6_network

WRONG_TOKENS_MAX = 10
WRONG_TOKENS_PERIOD_S = 60.0
"""A client may send `WRONG_TOKENS_MAX` wrong tokens in this time."""

CLIENTS_MAX = 1000
OTHER_CLIENTS = "the rest"


class WrongTokenLimit:
    """Counts wrong tokens per client. After `CLIENTS_MAX` clients, all further ones are counted together."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: dict[str, tuple[float, int]] = {}  # client -> (time of the first wrong token, their number)

    def wait_s(self, host: str) -> float:
        """How long this client must wait before its next try, in seconds; 0 if it may try now."""
        first_s, wrong = self._wrong.get(self._client_key(host), (0.0, 0))
        left_s = first_s + WRONG_TOKENS_PERIOD_S - self._now()
        return left_s if wrong >= WRONG_TOKENS_MAX and left_s > 0 else 0.0

    def note_wrong(self, host: str) -> None:
        key = self._client_key(host)
        first_s, wrong = self._wrong.get(key, (self._now(), 0))
        if self._now() - first_s >= WRONG_TOKENS_PERIOD_S:
            first_s, wrong = self._now(), 0
        self._wrong[key] = first_s, wrong + 1

    def _client_key(self, host: str) -> str:
        key = ipv4_address_or_ipv6_network(host)
        if key not in self._wrong and len(self._wrong) >= CLIENTS_MAX:
            self._remove_expired()
        return key if key in self._wrong or len(self._wrong) < CLIENTS_MAX else OTHER_CLIENTS

    def _remove_expired(self) -> None:
        end_s = self._now() - WRONG_TOKENS_PERIOD_S
        self._wrong = {key: counted for key, counted in self._wrong.items() if counted[0] > end_s}
