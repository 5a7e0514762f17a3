"""Where code is: one phrase about a thread, a traceback or a task, for log lines that name what holds something up."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import sysconfig
import threading
from collections.abc import Iterable
from pathlib import Path
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, TracebackType
from typing import Any

_LIBRARY = str(Path(sysconfig.get_paths()["stdlib"]))
_OURS = str(Path(__file__).parents[2])

Place = tuple[CodeType, int]


def describe_origin(error: BaseException) -> str:
    """Where an error was raised."""
    places: list[Place] = []
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        places.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return _phrase(reversed(places))


def describe_thread(ident: int | None) -> str:
    """Where a thread is now."""
    frame: FrameType | None = sys._current_frames().get(ident or 0)
    places: list[Place] = []
    while frame is not None:
        places.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return _phrase(places)


def describe_task(task: asyncio.Task[Any]) -> str:
    """Where a suspended task waits."""
    awaited: Any = task.get_coro()
    places: list[Place] = []
    while awaited is not None:
        match awaited:
            case CoroutineType():
                frame, awaited = awaited.cr_frame, awaited.cr_await
            case AsyncGeneratorType():
                frame, awaited = awaited.ag_frame, awaited.ag_await
            case _:
                # What `asend()` of an async generator returns has no attribute that leads to the generator.
                frame = None
                awaited = next((one for one in gc.get_referents(awaited) if isinstance(one, AsyncGeneratorType)), None)
        if frame is not None:
            places.append((frame.f_code, frame.f_lineno))
    return _phrase(reversed(places))


def threads_blocking_exit() -> list[threading.Thread]:
    """The threads that the interpreter waits for before it ends."""
    main = threading.main_thread()
    return [one for one in threading.enumerate() if one is not main and not one.daemon and not _is_idle(one)]


def is_waiting(ident: int) -> bool:
    """True for a thread whose event loop has nothing to do, or that joins another thread."""
    frame = sys._current_frames().get(ident)
    return frame is None or Path(frame.f_code.co_filename).name in ("selectors.py", "runners.py", "threading.py")


def _is_idle(thread: threading.Thread) -> bool:
    """True for a thread of a pool that waits for work: the interpreter ends those by itself."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is None or frame.f_code.co_filename.endswith(os.path.join("concurrent", "futures", "thread.py"))


def _phrase(innermost_first: Iterable[Place]) -> str:
    """The innermost place, and the innermost one that is neither the standard library's nor ours."""
    places = list(innermost_first)
    if not places:
        return "at a place that is not known"
    theirs = next((place for place in places if _is_the_users(place[0].co_filename)), None)
    if theirs is None or theirs == places[0]:
        return f"in {_shown(places[0])}"
    return f"in {_shown(places[0])}, called from {_shown(theirs)}"


def _is_the_users(filename: str) -> bool:
    if "site-packages" in filename:  # on some systems it lies inside of the library's directory
        return not filename.startswith(_OURS)
    return not filename.startswith((_LIBRARY, _OURS, "<"))


def _shown(place: Place) -> str:
    code, line = place
    return f"{code.co_qualname} ({code.co_filename}:{line})"
