"""Defects of bare aiokafka that EVKafka works around, each in its smallest form (docs/aiokafka-defects.md).

Such a test passes as long as the defect exists: if one fails after an upgrade, the workaround can be removed.
"""

from __future__ import annotations

import asyncio
import gc
import uuid
import weakref
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.admin import SaslAuthenticateRequest_v1
from aiokafka.record.memory_records import MemoryRecords

from evkafka.broker import KafkaBroker
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_topics import MakeTopic
from tests.support.proxy import END_TXN, HEARTBEAT, OFFSET_FETCH, TXN_OFFSET_COMMIT, Proxy
from tests.support.waiting import eventually


def unique_name() -> str:
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


async def stop(consumer: Any) -> None:
    """Stop it; its own stop may hang, or raise a stored error."""
    await asyncio.wait({asyncio.ensure_future(consumer.stop())}, timeout=10)


@pytest.mark.kfake
class TestConsumer:
    async def test_takes_a_failed_offset_fetch_for_no_committed_offset(self, fake: FakeKafka) -> None:
        topic, group = unique_name(), unique_name()
        await fake.create(topic)
        consumer, partition = await consumer_of(fake, topic, group), TopicPartition(topic, 0)
        try:
            await consumer.commit({partition: 5})
            assert await consumer.committed(partition) == 5
            await fake.fault(OFFSET_FETCH, 16, group=group, top_level=True)
            assert await consumer.committed(partition) is None
        finally:
            await stop(consumer)

    async def test_stops_its_heartbeat_after_an_unknown_error_code(self, fake: FakeKafka) -> None:
        topic, group = unique_name(), unique_name()
        await fake.create(topic)
        consumer = await consumer_of(fake, topic, group)
        try:
            await fake.fault(HEARTBEAT, 82, group=group)

            async def raises() -> bool:
                with pytest.raises(kafka.KafkaError):
                    await consumer.getmany(timeout_ms=50)
                return True

            await eventually(lambda: consumer._coordinator._heartbeat_task.done())
            for _ in range(3):  # after one answer each poll raises
                assert await raises()
        finally:
            await stop(consumer)


class TestPollTimer:
    async def test_stops_forever_after_a_poll_that_raised(self) -> None:
        state: Any = SubscriptionState()
        with pytest.raises(ZeroDivisionError), state.fetch_context():
            raise ZeroDivisionError
        assert state._fetch_count == 1


class TestLog:
    def test_shows_passwords_at_debug(self) -> None:
        assert "s3cret" in repr(SaslAuthenticateRequest_v1(b"\x00bob\x00s3cret"))


class TestStart:
    async def test_does_not_report_why_no_broker_was_reached(self, unused_tcp_port: int) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{unused_tcp_port}")
        with pytest.raises(kafka.KafkaConnectionError, match="Unable to bootstrap") as raised:
            await consumer.start()
        assert "refused" not in str(raised.value)
        assert raised.value.__cause__ is None
        await consumer.stop()


class TestIdempotentProducer:
    async def test_cannot_send_to_a_partition_after_a_refused_record(self, kafka_broker: KafkaBroker) -> None:
        topic, servers = unique_name(), kafka_broker.bootstrap_servers
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


class TestFetches:
    def test_are_kept_in_memory_by_a_reference_cycle(self) -> None:
        gc.disable()
        try:
            records = PartitionRecords(
                TopicPartition("t", 0), MemoryRecords(b""), [], 0, None, None, True, READ_COMMITTED
            )
            kept = weakref.ref(records)
            del records
            assert kept() is not None
        finally:
            gc.enable()


class TestTransactions:
    async def test_does_not_abort_after_a_refused_offset_commit(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        async with Proxy(kafka_broker.bootstrap_servers) as proxy:
            await self._refuse_and_abort(proxy, await topic())

            assert END_TXN not in proxy.requests

    async def _refuse_and_abort(self, proxy: Proxy, orders: str) -> None:
        group = unique_name()

        def refused(answer: bytes) -> bytes:
            return answer[:-2] + (30).to_bytes(2, "big")  # the code of its only partition: GROUP_AUTHORIZATION_FAILED

        proxy.rewrite(TXN_OFFSET_COMMIT, refused)
        producer: Any = AIOKafkaProducer(bootstrap_servers=proxy.bootstrap_servers, transactional_id=group)
        async with producer:
            await producer.begin_transaction()
            await producer.send_and_wait(orders, b"1", partition=0)
            with pytest.raises(kafka.GroupAuthorizationFailedError):
                await producer.send_offsets_to_transaction({TopicPartition(orders, 0): 1}, group)
            await producer.abort_transaction()
