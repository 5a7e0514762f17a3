"""A consumer's row on the dashboard."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.observe.health import HealthChecks
from evkafka.telemetry import Telemetry
from evkafka.testing import InMemoryKafka
from evkafka.ui.consumer_rows import ConsumerRows
from evkafka.ui.models import ConsumerRow
from evkafka.ui.statistics import Statistics


def row_of(app: EVKafkaApp) -> ConsumerRow:
    status, health = app.status(), HealthChecks(Telemetry())
    rows = ConsumerRows(status, health, Statistics(Telemetry()))
    [row] = rows.create(health.ready(status), health.live(status))
    return row


class TestTheGroup:
    @pytest.mark.parametrize("protocol", ["classic", "consumer"])
    async def test_has_its_protocol_and_its_epoch(self, protocol: str) -> None:
        app = EVKafkaApp()
        config: Any = {"topics": ["orders"], "group_id": "shop", "group_protocol": protocol}
        app.add_consumer(config, Handler())
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.settle()
            row = row_of(app)

        assert (row["group_protocol"], row["group_epoch"]) == (protocol, 1)
