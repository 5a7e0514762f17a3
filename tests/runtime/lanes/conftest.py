"""The lanes' tests run on the in-memory Kafka, whose clock they move."""

from __future__ import annotations

from tests.support.engine import bench, gates, handler

__all__ = ["bench", "gates", "handler"]
