"""Runs each test of the suite twice: on the in-memory Kafka, and on a real one."""

from __future__ import annotations

from tests.support.backends import backend

__all__ = ["backend"]
