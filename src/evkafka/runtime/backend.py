"""What stands in for Kafka, the clock and chance in this context: the test kit puts its own there.

Producers that users make themselves, inside a handler or a lifespan, are handed neither cluster nor clock. They ask
here when they start, so that nothing in a test dials a real Kafka behind its back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from evkafka.runtime.ports import Clock, Cluster


@dataclass(frozen=True, slots=True)
class Backend:
    """Attributes:
    cluster: makes the sinks of producers that were not told theirs.
    clock: their time.
    random: chance, as `random.random`: backoff's jitter is made of it.
    """

    cluster: Cluster
    clock: Clock
    random: Callable[[], float] = random.random


ambient: ContextVar[Backend | None] = ContextVar("evkafka_ambient", default=None)
"""None: a real Kafka and the system's clock. Tasks and threads started in a context inherit its value."""


@contextmanager
def stand_in(place: Backend) -> Iterator[None]:
    """This place stands in from here to the exit.

    It is put back by its value and not by its token: a fixture's exit may run in another context than its entry.
    """
    before = ambient.get()
    ambient.set(place)
    try:
        yield
    finally:
        ambient.set(before)


def chance() -> Callable[[], float]:
    """Where this context's random numbers in [0, 1) come from."""
    place = ambient.get()
    return random.random if place is None else place.random
