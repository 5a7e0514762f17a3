"""Fixtures for tests that run the app in its own process."""

from __future__ import annotations

from tests.support.processes import confluent_worker, group_id, journal, worker

__all__ = ["confluent_worker", "group_id", "journal", "worker"]
