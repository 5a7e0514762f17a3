"""Tokens that Kafka takes without a key: unsigned JSON web tokens, of which its development login checks the times."""

from __future__ import annotations

import base64
import json
import time

from aiokafka.abc import AbstractTokenProvider


def token(subject: str = "tina", *, lasts_s: float = 3600.0) -> str:
    """Args:
    lasts_s: from now on; negative for one that has expired.
    """
    now_s = time.time()
    claims = {"sub": subject, "iat": now_s - 7200, "exp": now_s + lasts_s}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Attributes:
    lasts_s: how long a token is good for.
    given: how many were asked for.
    text: what is given instead of a good one.
    fails: what asking raises.
    """

    def __init__(self, *, lasts_s: float = 3600.0, text: str | None = None, fails: Exception | None = None) -> None:
        self.lasts_s = lasts_s
        self.text = text
        self.fails = fails
        self.given = 0

    async def token(self) -> str:
        self.given += 1
        if self.fails is not None:
            raise self.fails
        return token(lasts_s=self.lasts_s) if self.text is None else self.text
