"""Unusual timestamps."""

from __future__ import annotations

import uuid

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from evkafka import Handler, Request
from tests.acceptance.records.apps import running
from tests.support.backends import RealBackend, committed_is

FUTURE_MS = 32_503_680_000_000  # the year 3000
ANY = {"message.timestamp.after.max.ms": str(2**63 - 1), "message.timestamp.before.max.ms": str(2**63 - 1)}


class TestTimestamps:
    @pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime"])
    async def test_of_every_kind_are_handled(self, kafka: RealBackend, kind: str) -> None:
        topic, sent_ms, seen_ms = f"t-{uuid.uuid4().hex[:12]}", [1, FUTURE_MS, 2], list[int]()
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.servers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={**ANY, "message.timestamp.type": kind})])
        finally:
            await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=kafka.servers) as producer:
            for at_ms in sent_ms:
                await producer.send_and_wait(topic, b"1", timestamp_ms=at_ms, headers=[("Event-Type", b"E")])
        handler, config = Handler(), kafka.config(topic)

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            seen_ms.append(request.timestamp_ms)

        async with running(config, handler):
            await committed_is(kafka, config, topic, 3)
        assert len(seen_ms) == 3
        assert (seen_ms == sent_ms) is (kind == "CreateTime")
