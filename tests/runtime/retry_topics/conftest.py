from __future__ import annotations

from tests.acceptance.records.conftest import kafka
from tests.conformance.conftest import backend

__all__ = ["backend", "kafka"]
