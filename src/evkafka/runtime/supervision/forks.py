"""What a forked child must not have of its parent: signal handlers, and the way to the parent's event loop.

A handler may fork (multiprocessing, a process pool). The child has a copy of everything, but only the thread that
forked: the loop's copy runs nowhere, and its sockets are the parent's. Without this a SIGTERM to the child would call
the copy of our handler, which wakes the parent's loop instead of ending the child.
"""

from __future__ import annotations

import concurrent.futures.thread
import os
import signal
import threading
from collections.abc import Callable

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_undo: dict[object, Callable[[], object]] = {}


class _Masks(threading.local):
    """The signals that this thread had blocked before it forked; None where nothing is to be undone."""

    before: set[signal.Signals | int] | None = None


_masks = _Masks()


def undo_in_children(undo: Callable[[], object]) -> Callable[[], object]:
    """Call this in each child that is forked from now on, until the returned function is called."""
    token = object()
    _undo[token] = undo
    return lambda: _undo.pop(token, None)


def _before() -> None:
    """A signal that comes before the child has given the handlers back would be lost: Python forgets what is pending in
    a child. Blocked, it waits in the system."""
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS) if _undo else None


def _in_parent() -> None:
    if _masks.before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _in_child() -> None:
    for undo in tuple(_undo.values()):
        undo()
    if _undo:
        _forget_pools()
    _undo.clear()
    _in_parent()


def _forget_pools() -> None:
    """The threads of pools do not exist here, but for the one that forked, which is the main thread now. At its end the
    child would wait for all of them, for itself too: it would end with 1, whatever it has done."""
    queues = getattr(concurrent.futures.thread, "_threads_queues", None)
    if queues is not None:
        queues.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
