"""Run by path, before Java and in its place: asks Linux to kill this process when its parent dies, then becomes Java.

    python -I -S parent_death.py PARENT_PID COMMAND [ARGUMENT]...

A `preexec_fn` would do the same, but runs Python between fork and exec of a process with threads, which can
deadlock. The death signal survives the exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call above, and then no signal will ever come.
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  # nosec B606 # what our own parent asks for


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
