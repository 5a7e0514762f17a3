"""Ports for programs that are started later, and ports at which nothing listens."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"


def free_ports(count: int) -> range:
    """Ports in a row that nobody has, below those that the system gives to whoever asks for any: they stay free."""
    while True:
        first = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), taken(*range(first, first + count)):
            return range(first, first + count)


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1)[0]


@contextlib.contextmanager
def taken(*ports: int) -> Iterator[None]:
    """Something listens on these ports.

    Raises:
        OSError: another program has one of them.
    """
    with contextlib.ExitStack() as servers:
        for port in ports:
            servers.enter_context(socket.create_server((HOST, port)))
        yield


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections; nobody else gets it meanwhile."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]
