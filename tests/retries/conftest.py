from __future__ import annotations

from tests.conformance.conftest import backend
from tests.records.conftest import kafka

__all__ = ["backend", "kafka"]
