"""A program that asks Linux to kill this process when its parent ends, and then executes Java in its place.

    python -I -S parent_death.py PARENT_PID COMMAND [ARGUMENT]...

A `preexec_fn` could do the same, but it runs Python between fork and exec in a process with threads, which can
deadlock. The setting survives the exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the call above, and then no signal is sent.
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  # nosec B606 # the command of our own parent


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
