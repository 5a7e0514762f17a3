"""Defects of bare aiokafka that EVKafka works around, each in its smallest form (docs/aiokafka-defects.md).

Such a test passes as long as the defect exists: if one fails after an upgrade, the workaround can be removed.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.admin import SaslAuthenticateRequest_v1

from evkafka.broker import KafkaBroker
from tests.support.fake_kafka import FakeKafka
from tests.support.proxy import HEARTBEAT, OFFSET_FETCH
from tests.support.waiting import eventually


def a_name() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


async def consumer_of(fake: FakeKafka, topic: str, group: str) -> Any:
    consumer: Any = AIOKafkaConsumer(
        topic,
        bootstrap_servers=fake.bootstrap_servers,
        group_id=group,
        enable_auto_commit=False,
        heartbeat_interval_ms=100,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    return consumer


async def end(consumer: Any) -> None:
    """Its own stop may hang, or raise what it has kept."""
    await asyncio.wait({asyncio.ensure_future(consumer.stop())}, timeout=10)


@pytest.mark.kfake
class TestTheConsumer:
    async def test_takes_a_failed_look_up_for_no_commit(self, fake: FakeKafka) -> None:
        topic, group = a_name(), a_name()
        await fake.create(topic)
        consumer, place = await consumer_of(fake, topic, group), TopicPartition(topic, 0)
        try:
            await consumer.commit({place: 5})
            assert await consumer.committed(place) == 5
            await fake.fault(OFFSET_FETCH, 16, group=group, top_level=True)
            assert await consumer.committed(place) is None
        finally:
            await end(consumer)

    async def test_loses_its_heartbeat_by_an_answer_that_it_does_not_know(self, fake: FakeKafka) -> None:
        topic, group = a_name(), a_name()
        await fake.create(topic)
        consumer = await consumer_of(fake, topic, group)
        try:
            await fake.fault(HEARTBEAT, 82, group=group)

            async def raises() -> bool:
                with pytest.raises(kafka.KafkaError):
                    await consumer.getmany(timeout_ms=50)
                return True

            await eventually(lambda: consumer._coordinator._heartbeat_task.done())
            for _ in range(3):  # one answer, and each poll from now on
                assert await raises()
        finally:
            await end(consumer)


class TestItsClockOfPolls:
    async def test_stands_still_for_ever_after_one_poll_that_raised(self) -> None:
        state: Any = SubscriptionState()
        with pytest.raises(ZeroDivisionError), state.fetch_context():
            raise ZeroDivisionError
        assert state._fetch_count == 1


class TestItsLog:
    def test_shows_passwords_at_debug(self) -> None:
        assert "s3cret" in repr(SaslAuthenticateRequest_v1(b"\x00bob\x00s3cret"))


class TestItsStart:
    async def test_does_not_say_why_it_found_nobody(self, unused_tcp_port: int) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{unused_tcp_port}")
        with pytest.raises(kafka.KafkaConnectionError, match="Unable to bootstrap") as raised:
            await consumer.start()
        assert "refused" not in str(raised.value)
        assert raised.value.__cause__ is None
        await consumer.stop()


class TestTheIdempotentProducer:
    async def test_sends_nothing_more_to_a_partition_after_one_refused_record(self, kafka_broker: KafkaBroker) -> None:
        topic, servers = a_name(), kafka_broker.bootstrap_servers
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "2000"})])
        finally:
            await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
            await producer.send_and_wait(topic, b"small")
            with pytest.raises(kafka.MessageSizeTooLargeError):
                await producer.send_and_wait(topic, b"x" * 5000)
            for _ in range(2):
                with pytest.raises(kafka.OutOfOrderSequenceNumber):
                    await producer.send_and_wait(topic, b"small")
