"""CPU time, memory, versions and age of this process."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from evkafka.ui.models import ProcessRow

STATM = Path("/proc/self/statm")
CPU_S = 5.0
"""CPU time is measured over at least so long."""


class ProcessFigures:
    """The figures of the process since the creation of this object.

    Args:
        app_version: the version that the app was given.
    """

    def __init__(
        self,
        app_version: str,
        *,
        cpu_s: Callable[[], float] = time.process_time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app_version = app_version
        self._evkafka_version = version("evkafka")
        self._cpu_s, self._now = cpu_s, now
        self._started_s = now()
        self._last = now(), cpu_s()
        self._cpu_percent: float | None = None

    def measure(self) -> ProcessRow:
        return ProcessRow(
            pid=os.getpid(),
            app_version=self._app_version,
            evkafka_version=self._evkafka_version,
            python_version=platform.python_version(),
            uptime_s=self._now() - self._started_s,
            cpu_percent=self._measure_cpu(),
            memory_bytes=_memory_bytes(),
        )

    def _measure_cpu(self) -> float | None:
        """In percent of one core, since the last measurement; the last result if that is too near."""
        at_s, cpu_s = self._now(), self._cpu_s()
        last_at_s, last_cpu_s = self._last
        if at_s - last_at_s >= CPU_S:
            self._cpu_percent = 100 * (cpu_s - last_cpu_s) / (at_s - last_at_s)
            self._last = at_s, cpu_s
        return self._cpu_percent


def _memory_bytes() -> int | None:
    """The resident memory; None if the system does not tell (only Linux does)."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
