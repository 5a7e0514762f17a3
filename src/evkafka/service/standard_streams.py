"""Opens the standard streams, without which a process may be started."""

from __future__ import annotations

import os


def open_standard_streams() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed.

    Otherwise the next files and sockets get these numbers: printed text would be written into them, and libuv aborts
    the process when it closes one of its own descriptors with such a number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
