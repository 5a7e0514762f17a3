"""Topics and partitions that are created while the app runs."""

from __future__ import annotations

import logging

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.acceptance.records.apps import Handled, running
from tests.support.backends import RealBackend, committed_is


class TestAMissingTopic:
    async def test_is_waited_for_and_read_from_its_beginning(
        self, kafka: RealBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler, topic = Handled(), "comes-later"
        config = kafka.config(topic, auto_offset_reset="latest", metadata_max_age_ms=500)
        with caplog.at_level(logging.WARNING):
            async with running(config, handler):
                await kafka.until(lambda: f"waiting for topic '{topic}'" in caplog.text)
                admin = AIOKafkaAdminClient(bootstrap_servers=kafka.servers)
                await admin.start()
                await admin.create_topics([NewTopic(topic, 1, 1)])
                await admin.close()
                await kafka.send(topic, b"first")
                await committed_is(kafka, config, topic, 1)
        assert handler.records == [(0, 0, b"first")]

    async def test_does_not_delay_the_other_topics(self, kafka: RealBackend) -> None:
        handler, topic = Handled(), await kafka.topic()
        await kafka.send(topic, b"first")
        config = kafka.config(topic, "never-comes")
        async with running(config, handler):
            await committed_is(kafka, config, topic, 1)
        assert handler.records == [(0, 0, b"first")]


class TestPartitionsAddedLater:
    async def test_are_read_from_their_beginning(self, kafka: RealBackend) -> None:
        handler, topic = Handled(), await kafka.topic()
        config = kafka.config(topic, auto_offset_reset="latest", metadata_max_age_ms=500)
        async with running(config, handler):
            await committed_is(
                kafka, config, topic, 0
            )  # the start position, the end of an empty partition, is committed
            await kafka.send(topic, b"old")
            await committed_is(kafka, config, topic, 1)
            await kafka.add_partitions(topic, 3)
            await kafka.send(topic, b"new", partition=1)
            await kafka.send(topic, b"newer", partition=2)
            await committed_is(kafka, config, topic, 1, partition=1)
            await committed_is(kafka, config, topic, 1, partition=2)
        assert sorted(handler.records) == [(0, 0, b"old"), (1, 0, b"new"), (2, 0, b"newer")]
