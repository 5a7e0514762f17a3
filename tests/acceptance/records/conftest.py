"""What the tests of unusual records share: an app on the real Kafka, and what it handled."""

from __future__ import annotations

from tests.support.backends import kafka

__all__ = ["kafka"]
