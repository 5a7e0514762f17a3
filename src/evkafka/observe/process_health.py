"""Health of several processes as one: each says every second how it is, in a file beside its figures, and whichever is
asked answers for all of them. One that stays silent is not well: its event loop is held, or it was stopped."""

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
from evkafka.observe.shared_directory import shared_directory

EVERY_S = 1.0
SILENT_S = 30.0


class ProcessHealth:
    """The other processes of an app, as one of them sees them.

    Args:
        directory: where all of them leave their files.
        own: how this process is, by question. Called on the app's loop.
    """

    def __init__(self, directory: Path, own: Callable[[], Mapping[Question, Health]]) -> None:
        self._directory = directory
        self._shared = shared_directory(directory)
        self._own = own
        self._path = directory / f"evkafka-health-{os.getpid()}-{secrets.token_hex(4)}.json"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside, the others are told how this one is."""
        telling = asyncio.ensure_future(self._tell_for_ever())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait({telling})
            self._shared.remove(self._path.name)

    async def _tell_for_ever(self) -> None:
        while True:
            self._tell()
            await asyncio.sleep(EVERY_S)

    def _tell(self) -> None:
        told = {question: [_said(check) for check in health.checks] for question, health in self._own().items()}
        self._shared.write(self._path.name, json.dumps({"at_s": time.time(), **told}).encode())

    def others(self, question: Question) -> tuple[Check, ...]:
        """How the other processes are: one check for each."""
        return tuple(
            check
            for path in sorted(self._directory.glob("evkafka-health-*.json"))
            if path != self._path and (check := self._look_at(path, question)) is not None
        )

    def _look_at(self, path: Path, question: Question) -> Check | None:
        """None where the process is no more: whoever supervises it knows."""
        pid = int(path.name.split("-")[2])
        if not lives(pid):
            self._shared.remove(path.name)
            return None
        try:
            told = json.loads(path.read_bytes())
            silent_s = time.time() - max(told["at_s"], self._shared.works_since_s)
        except FileNotFoundError:  # it has just ended
            return None
        except (OSError, ValueError, KeyError) as error:
            return Check("worker", str(pid), notes=(f"how it is cannot be read: {error}",))
        if silent_s > SILENT_S and self._shared.failing:
            # Nor can it write: its silence says nothing about it.
            return Check("worker", str(pid), notes=(f"how it is is not known: {self._directory} cannot be written",))
        return _judged(pid, told, question, silent_s)


def _said(check: Check) -> dict[str, list[str]]:
    who = f"{check.kind} {check.name}: " if check.name else ""
    held_against = [who + reason for reason in check.reasons] if check.counts else []
    return {"reasons": held_against, "notes": [who + note for note in check.notes]}


def _judged(pid: int, told: dict[str, Any], question: Question, silent_s: float) -> Check:
    if silent_s > SILENT_S:
        return Check(
            "worker",
            str(pid),
            (f"it has said nothing for {silent_s:.0f} s: its event loop is held, or it was stopped",),
        )
    parts = told[question]
    return Check(
        "worker",
        str(pid),
        tuple(reason for part in parts for reason in part["reasons"]),
        tuple(note for part in parts for note in part["notes"]),
    )


def lives(pid: int) -> bool:
    """Whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
