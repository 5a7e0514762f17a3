"""A broker that tests of producers kill and freeze. The fake cluster and the proxy are fixtures of the folder above."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from evkafka.broker import KafkaBroker


@pytest.fixture(scope="module")
def mortal_broker() -> Iterator[KafkaBroker]:
    """A broker that tests may kill, freeze and bring back."""
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture
def broker(mortal_broker: KafkaBroker) -> KafkaBroker:
    """The same, alive at the beginning of each test."""
    return mortal_broker.start()


@contextmanager
def frozen(broker: KafkaBroker) -> Iterator[None]:
    """Inside, its process stands still: connections stay, and nobody answers."""
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
