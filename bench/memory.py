"""Resident memory of this process. Linux only."""

from __future__ import annotations

import os
from pathlib import Path


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
