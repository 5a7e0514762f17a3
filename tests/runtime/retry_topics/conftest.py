from __future__ import annotations

from tests.support.backends import backend, kafka

__all__ = ["backend", "kafka"]
