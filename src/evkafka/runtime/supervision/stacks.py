"""Describes where a thread, a traceback or a task is in the code, for log lines that name what blocks something."""

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

_STANDARD_LIBRARY = str(Path(sysconfig.get_paths()["stdlib"]))
_PACKAGE = str(Path(__file__).parents[2])

CodeLocation = tuple[CodeType, int]


def describe_where_raised(error: BaseException) -> str:
    """Describe where an error was raised."""
    locations: list[CodeLocation] = []
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        locations.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return _describe_innermost_and_user_location(reversed(locations))


def describe_thread(ident: int | None) -> str:
    """Describe where a thread is now."""
    frame: FrameType | None = sys._current_frames().get(ident or 0)
    locations: list[CodeLocation] = []
    while frame is not None:
        locations.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return _describe_innermost_and_user_location(locations)


def describe_task(task: asyncio.Task[Any]) -> str:
    """Describe where a suspended task waits."""
    awaited: Any = task.get_coro()
    locations: list[CodeLocation] = []
    while awaited is not None:
        match awaited:
            case CoroutineType():
                frame, awaited = awaited.cr_frame, awaited.cr_await
            case AsyncGeneratorType():
                frame, awaited = awaited.ag_frame, awaited.ag_await
            case _:
                # The awaitable of an async generator's `asend()` has no attribute that leads to the generator.
                frame = None
                awaited = next((one for one in gc.get_referents(awaited) if isinstance(one, AsyncGeneratorType)), None)
        if frame is not None:
            locations.append((frame.f_code, frame.f_lineno))
    return _describe_innermost_and_user_location(reversed(locations))


def threads_blocking_exit() -> list[threading.Thread]:
    """The threads that the interpreter waits for at its end."""
    main = threading.main_thread()
    return [
        one for one in threading.enumerate() if one is not main and not one.daemon and not _is_idle_pool_thread(one)
    ]


def is_thread_waiting(ident: int) -> bool:
    """True for a thread whose event loop has nothing to do, or that joins another thread."""
    frame = sys._current_frames().get(ident)
    return frame is None or Path(frame.f_code.co_filename).name in ("selectors.py", "runners.py", "threading.py")


def _is_idle_pool_thread(thread: threading.Thread) -> bool:
    """True for a pool thread that waits for work: the interpreter ends those by itself."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is None or frame.f_code.co_filename.endswith(os.path.join("concurrent", "futures", "thread.py"))


def _describe_innermost_and_user_location(innermost_first: Iterable[CodeLocation]) -> str:
    """The innermost location, and the innermost one that is neither in the standard library nor in EVKafka."""
    locations = list(innermost_first)
    if not locations:
        return "at an unknown place"
    users = next((location for location in locations if _is_users_code(location[0].co_filename)), None)
    if users is None or users == locations[0]:
        return f"in {_format_location(locations[0])}"
    return f"in {_format_location(locations[0])}, called from {_format_location(users)}"


def _is_users_code(filename: str) -> bool:
    if "site-packages" in filename:  # on some systems it is inside of the standard library's directory
        return not filename.startswith(_PACKAGE)
    return not filename.startswith((_STANDARD_LIBRARY, _PACKAGE, "<"))


def _format_location(location: CodeLocation) -> str:
    code, line = location
    return f"{code.co_qualname} ({code.co_filename}:{line})"
