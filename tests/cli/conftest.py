from __future__ import annotations

from tests.cli.support import call, running

__all__ = ["call", "running"]
