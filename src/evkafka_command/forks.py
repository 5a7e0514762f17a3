"""Removes signal handlers and the access to the parent's event loop from forked children.

A handler may fork (multiprocessing, a process pool). The child has a copy of everything, but only the thread that
forked: the copy of the loop runs nowhere, and its sockets belong to the parent. Without this module a SIGTERM to the
child would call the copy of our handler, which wakes the parent's loop instead of ending the child.

It is outside of the package evkafka because the console command needs it before it imports that package.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_undo: dict[object, Callable[[], object]] = {}


class _SignalMask(threading.local):
    """The signals that this thread had blocked before it forked; None if there is nothing to restore."""

    before_fork: set[signal.Signals | int] | None = None


_mask = _SignalMask()


def undo_in_children(undo: Callable[[], object]) -> Callable[[], object]:
    """Call this in each child that is forked from now on, until the returned function is called."""
    token = object()
    _undo[token] = undo
    return lambda: _undo.pop(token, None)


def _block_signals() -> None:
    """A signal that arrives before the child has run its `undo` functions would be lost, or be written to the parent's
    wakeup descriptor: Python forgets pending signals in a child. A blocked signal waits in the operating system."""
    _mask.before_fork = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS) if _undo else None


def _restore_signals() -> None:
    if _mask.before_fork is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before_fork)


def _in_child() -> None:
    for undo in tuple(_undo.values()):
        undo()
    if _undo:
        _forget_pools()
    _undo.clear()
    _restore_signals()


def _forget_pools() -> None:
    """Thread pools have no threads in the child, except for the one that forked, which is the main thread now. At its
    end the child would wait for all of them, and for itself: it would always exit with code 1."""
    pools = sys.modules.get("concurrent.futures.thread")
    queues = getattr(pools, "_threads_queues", None)
    if queues is not None:
        queues.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_block_signals, after_in_parent=_restore_signals, after_in_child=_in_child)
