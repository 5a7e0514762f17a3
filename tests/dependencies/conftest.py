from __future__ import annotations

from tests.declaring.conftest import stack, threads

__all__ = ["stack", "threads"]
