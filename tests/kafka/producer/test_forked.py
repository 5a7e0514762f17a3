"""A producer in a forked child does not run, because its event loop does not run there."""

from __future__ import annotations

import os

import pytest

from evkafka import EVKafkaProducer
from evkafka.testing import InMemoryKafka


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_a_copy_of_a_producer_does_not_run() -> None:
    async with InMemoryKafka():
        producer = EVKafkaProducer({"bootstrap_servers": "localhost:9092"})
        async with producer:
            child = os.fork()
            if child == 0:
                os._exit(0 if producer.loop is None and producer.unavailable_reason() == "it is not running" else 1)
            _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
            assert os.waitstatus_to_exitcode(status) == 0
            assert producer.unavailable_reason() == ""
