"""Reserves a port until a server listens on it, and while the server restarts."""

from __future__ import annotations

import errno
import socket
import sys

from evkafka.exceptions import ConfigError


class ReservedPort:
    """One TCP port of 127.0.0.1.

    On Linux the socket stays bound and never listens: a server that binds with SO_REUSEADDR as we do, as Java does, may
    listen on the port, while the kernel gives the number to no other process, also between a kill and a restart. On
    other systems two sockets cannot share an address like that, and the port is released at once.
    """

    def __init__(self, number: int | None) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform != "win32":  # on Windows the option allows any process to take over the port
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", number or 0))
            if number is not None:
                _check_no_listener(number)
        except (OSError, OverflowError) as error:
            self._socket.close()
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"port {number} of 127.0.0.1 is in use: stop the program that uses it, or choose another port"
                ) from error
            raise ConfigError(f"port {number} of 127.0.0.1 cannot be used: {error}") from error
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    def release(self) -> None:
        self._socket.close()


def _check_no_listener(number: int) -> None:
    # If a listener on 0.0.0.0 does not prevent a bind to 127.0.0.1, as on macOS, it would get no more connections from
    # the moment that Kafka listens.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(("127.0.0.1", number)) == 0:
            raise OSError(errno.EADDRINUSE, "another program is listening there")
