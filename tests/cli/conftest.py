from __future__ import annotations

from tests.cli.support import running

__all__ = ["running"]
