"""The start of an app that is stopped meanwhile."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.testing import InMemoryKafka


@pytest.mark.parametrize("stopped", [False, True])
async def test_only_an_app_that_was_not_stopped_during_its_start_says_what_it_reads(
    stopped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if stopped:
            app.stop()
        yield

    app = EVKafkaApp(lifespan=lifespan)
    app.add_consumer({"topics": ["orders"], "group_id": "g"}, Handler(), name="shop")
    with caplog.at_level(logging.INFO, "evkafka"):
        async with InMemoryKafka() as kafka, kafka.running(app):
            pass
    assert any("consumer shop reads orders as group g" in line for line in caplog.messages) is not stopped
