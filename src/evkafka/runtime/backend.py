"""The cluster, clock and random numbers that this context uses: the real ones, or those of the test kit.

Producers that users create themselves, inside a handler or a lifespan, are passed neither cluster nor clock. They read
the current backend when they start, so that nothing in a test connects to a real Kafka unnoticed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from evkafka.runtime.clock import sleep
from evkafka.runtime.ports import Clock, Cluster
from evkafka.serde.formats.schema_cache import current_sleep


@dataclass(frozen=True, slots=True)
class Backend:
    """Attributes:
    cluster: creates the sinks of producers that were passed no cluster.
    clock: the time of those producers.
    random: random numbers in [0, 1), as `random.random`, for the jitter of backoffs.
    """

    cluster: Cluster
    clock: Clock
    random: Callable[[], float] = random.random


current_backend: ContextVar[Backend | None] = ContextVar("evkafka_backend", default=None)
"""None: a real Kafka and the system's clock. Tasks and threads started in a context inherit its value."""


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Use this backend until the exit.

    The previous one is restored by its value and not by its token: a fixture's exit may run in another context than
    its entry.
    """
    before, sleep_before = current_backend.get(), current_sleep.get()
    current_backend.set(backend)
    current_sleep.set(partial(sleep, backend.clock))
    try:
        yield
    finally:
        current_backend.set(before)
        current_sleep.set(sleep_before)


def random_source() -> Callable[[], float]:
    """The source of this context's random numbers in [0, 1)."""
    backend = current_backend.get()
    return random.random if backend is None else backend.random
