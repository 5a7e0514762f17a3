"""Descriptors 0 to 2, which a process may be started without."""

from __future__ import annotations

import os


def open_standard_streams() -> None:
    """Those that are closed become /dev/null.

    Otherwise the next files and sockets take their numbers: what is printed would go into them, and libuv aborts the
    process when it closes one of its own with such a number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            taken = os.open(os.devnull, os.O_RDWR)  # the lowest free one
            if taken != number:
                os.dup2(taken, number)
                os.close(taken)
            os.set_inheritable(number, True)
