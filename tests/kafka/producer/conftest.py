"""A broker that producer tests kill and freeze."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evkafka.broker import KafkaBroker
from tests.support.backends import kafka

__all__ = ["kafka"]


@pytest.fixture(scope="module")
def mortal_broker() -> Iterator[KafkaBroker]:
    """A broker that tests may kill, freeze and restart."""
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture
def broker(mortal_broker: KafkaBroker) -> KafkaBroker:
    """The same, alive at the beginning of each test."""
    return mortal_broker.start()
