"""Signals of commands that run for a while."""

from __future__ import annotations

import signal


def interrupt_on_sigterm() -> None:
    """End at SIGTERM as at Ctrl-C. SIGINT is restored too: a shell starts background jobs with SIGINT ignored."""
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
