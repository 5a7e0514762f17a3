from __future__ import annotations

from tests.cli.support import call, call_here, running

__all__ = ["call", "call_here", "running"]
