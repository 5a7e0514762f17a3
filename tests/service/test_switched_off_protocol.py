"""A group that asks for the consumer protocol of brokers that have it switched off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.broker import KafkaBroker
from evkafka.service.process import run_to_exit_code
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.long]


@pytest.fixture(scope="module")
def classic_only() -> Iterator[str]:
    with KafkaBroker(properties={"group.coordinator.rebalance.protocols": "classic"}) as broker:
        yield broker.bootstrap_servers


def app_of(servers: str, protocol: Literal["classic", "consumer", "auto"]) -> EVKafkaApp:
    handler = Handler()

    @handler.default()
    async def on_any(value: bytes) -> None: ...

    app = EVKafkaApp()
    app.add_consumer(
        {"topics": ["orders"], "group_id": protocol, "group_protocol": protocol, "bootstrap_servers": servers},
        handler,
    )
    return app


def test_consumer_ends_the_process_with_3_and_the_fix(classic_only: str, caplog: pytest.LogCaptureFixture) -> None:
    app = app_of(classic_only, "consumer")

    code = run_to_exit_code(lambda: asyncio.wait_for(app.serve(install_signal_handlers=False), 60))

    [said] = [line.getMessage() for line in caplog.records if line.levelno == logging.CRITICAL]
    assert code == 3
    assert "set group_protocol to 'classic' or 'auto'" in said


async def test_auto_joins_with_the_classic_protocol(classic_only: str) -> None:
    app = app_of(classic_only, "auto")
    async with app.running():
        await eventually(lambda: (epoch := app.status().consumers[0].group_epoch) and epoch.protocol == "classic")
