"""Health of several processes as one: each process writes its health into a file beside its metrics every second, and
whichever process is asked answers for all. A process that stops writing is unhealthy: its event loop is blocked, or it
was stopped."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from evkafka.observe.health import Check, Health, Question
from evkafka.observe.shared_directory import cached_shared_directory

INTERVAL_S = 1.0
SILENT_S = 30.0


class ProcessHealth:
    """The health of the other processes of an app, seen from one of them.

    Args:
        directory: in which all of them write their files.
        own: returns the health of this process, by question. Called on the app's loop.
    """

    def __init__(self, directory: Path, own: Callable[[], Mapping[Question, Health]]) -> None:
        self._directory = directory
        self._shared = cached_shared_directory(directory)
        self._own = own
        self._path = directory / f"evkafka-health-{os.getpid()}-{secrets.token_hex(4)}.json"

    @asynccontextmanager
    async def share_health(self) -> AsyncIterator[None]:
        """While it is open, the others can read the health of this process."""
        writing = asyncio.ensure_future(self._write_health_forever())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.wait({writing})
            self._shared.remove_file(self._path.name)

    async def _write_health_forever(self) -> None:
        while True:
            self._write_health()
            await asyncio.sleep(INTERVAL_S)

    def _write_health(self) -> None:
        answers = {
            question: [_check_to_json(check) for check in health.checks] for question, health in self._own().items()
        }
        self._shared.write_file(self._path.name, json.dumps({"at_s": time.time(), **answers}).encode())

    def check_others(self, question: Question) -> tuple[Check, ...]:
        """One check for each of the other processes."""
        return tuple(
            check
            for path in sorted(self._directory.glob("evkafka-health-*.json"))
            if path != self._path and (check := self._read_check(path, question)) is not None
        )

    def _read_check(self, path: Path, question: Question) -> Check | None:
        """None if the process has ended: its supervisor knows."""
        pid = int(path.name.split("-")[2])
        if not process_exists(pid):
            self._shared.remove_file(path.name)
            return None
        try:
            content = json.loads(path.read_bytes())
            silent_s = time.time() - max(content["at_s"], self._shared.works_since_s)
        except FileNotFoundError:  # it has just ended
            return None
        except (OSError, ValueError, KeyError) as error:
            return Check("worker", str(pid), notes=(f"its health cannot be read: {error}",))
        if silent_s > SILENT_S and self._shared.failing:
            # The other process cannot write either: that its file is old says nothing about it.
            return Check("worker", str(pid), notes=(f"its health is unknown: {self._directory} is not writable",))
        return _check_from_json(pid, content, question, silent_s)


def _check_to_json(check: Check) -> dict[str, list[str]]:
    prefix = f"{check.kind} {check.name}: " if check.name else ""
    reasons = [prefix + reason for reason in check.reasons] if check.counts else []
    return {"reasons": reasons, "notes": [prefix + note for note in check.notes]}


def _check_from_json(pid: int, content: dict[str, Any], question: Question, silent_s: float) -> Check:
    if silent_s > SILENT_S:
        return Check(
            "worker",
            str(pid),
            (f"it has not reported for {silent_s:.0f} s: its event loop is blocked, or the process is paused",),
        )
    parts = content[question]
    return Check(
        "worker",
        str(pid),
        tuple(reason for part in parts for reason in part["reasons"]),
        tuple(note for part in parts for note in part["notes"]),
    )


def process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True
