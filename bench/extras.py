"""The rows run without the extra `speed`, although it is installed, unless they have the option `speed`."""

from __future__ import annotations

import sys
from typing import Any

modules: dict[str, Any] = sys.modules  # type: ignore[assignment]
if "speed" not in sys.argv[4:]:
    modules["google_crc32c"] = None  # an import raises ImportError then
