"""Prints progress to standard error."""

from __future__ import annotations

import sys


def print_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
