"""Unsigned JSON web tokens: Kafka's development login checks only their times."""

from __future__ import annotations

import base64
import json
import time

from aiokafka.abc import AbstractTokenProvider


def token(subject: str = "tina", *, lasts_s: float = 3600.0) -> str:
    """Args:
    lasts_s: the lifetime from now on; negative for an expired token.
    """
    now_s = time.time()
    claims = {"sub": subject, "iat": now_s - 7200, "exp": now_s + lasts_s}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Attributes:
    lasts_s: the lifetime of a token.
    given: the number of tokens returned.
    text: returned instead of a valid token.
    fails: raised instead of returning a token.
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
