"""Tests of lanes use the in-memory Kafka and move its clock."""

from __future__ import annotations

from tests.support.engine import bench, gates, handler

__all__ = ["bench", "gates", "handler"]
