"""Fixtures of the configuration tests."""

from __future__ import annotations

import pytest

from evkafka.config import connection as _config_connection


@pytest.fixture(autouse=True)
def no_warnings_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are logged once per process; this lets each test see its own."""
    monkeypatch.setattr(_config_connection, "_warned", set())
