"""The backends of the suite: which tests run on which Kafka with which group protocol.

All run in memory with both. On a real Kafka the consumer protocol runs with the tests in which the membership matters;
the others take minutes, and run with `make test-long`.
"""

from __future__ import annotations

import pytest

MEMORY = pytest.param(("memory", "classic"), id="memory")
MEMORY_CONSUMER = pytest.param(("memory", "consumer"), id="memory-consumer")
REAL = pytest.param(("real", "classic"), id="real", marks=pytest.mark.kafka)
REAL_CONSUMER = pytest.param(("real", "consumer"), id="real-consumer", marks=pytest.mark.kafka)
REAL_CONSUMER_LONG = pytest.param(("real", "consumer"), id="real-consumer", marks=[pytest.mark.kafka, pytest.mark.long])

EVERY_BACKEND = [MEMORY, MEMORY_CONSUMER, REAL, REAL_CONSUMER_LONG]

membership_matters = pytest.mark.parametrize("backend", [MEMORY, MEMORY_CONSUMER, REAL, REAL_CONSUMER], indirect=True)
"""On a real Kafka with the consumer protocol too, in each run of the suite."""

all_partitions_move = pytest.mark.parametrize("backend", [MEMORY, MEMORY_CONSUMER, REAL], indirect=True)
"""A rebalance of a topic with one partition: on a real Kafka the consumer protocol moves nothing."""

only_some_move = pytest.mark.parametrize("backend", [MEMORY_CONSUMER, REAL_CONSUMER], indirect=True)
"""What only the consumer protocol promises."""

ON_A_REAL_KAFKA = ["classic", pytest.param("consumer", marks=pytest.mark.long)]
"""The group protocols of a test that has one row of a table after the other on a real Kafka."""
