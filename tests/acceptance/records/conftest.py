"""Fixtures for tests of unusual records: an app on the real Kafka, and the records that it handled."""

from __future__ import annotations

from tests.support.backends import kafka

__all__ = ["kafka"]
