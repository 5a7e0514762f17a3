"""The backends of the suite: which tests run on which Kafka with which group protocol."""

from __future__ import annotations

import pytest

MEMORY = pytest.param(("memory", "classic"), id="memory")
MEMORY_CONSUMER = pytest.param(("memory", "consumer"), id="memory-consumer")
REAL = pytest.param(("real", "classic"), id="real", marks=pytest.mark.kafka)
EVERY_BACKEND = [MEMORY, MEMORY_CONSUMER, REAL]

membership_matters = pytest.mark.parametrize("backend", [MEMORY, MEMORY_CONSUMER, REAL], indirect=True)
"""Joins, leaves, and what is committed at them."""

all_partitions_move = pytest.mark.parametrize("backend", [MEMORY, MEMORY_CONSUMER, REAL], indirect=True)
"""A rebalance of a topic with one partition."""

only_some_move = pytest.mark.parametrize("backend", [MEMORY_CONSUMER], indirect=True)
"""What only the consumer protocol promises."""

ON_A_REAL_KAFKA = ["classic"]
"""The group protocols of a test that has one row of a table after the other on a real Kafka."""
