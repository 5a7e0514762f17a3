"""Leader epochs are committed with offsets, and checked when a leader changes."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.broker import KafkaBroker
from evkafka.kafka.client.client import Client
from evkafka.kafka.client.protocol import OffsetFetchWithEpochsRequest
from evkafka.kafka.consumer.leader_epochs import Divergence, EpochOffset, find_divergences
from evkafka.records import TopicPartition
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.waiting import eventually

OFFSET_FOR_LEADER_EPOCH = 23
AT = ClientPartition("orders", 0)


class TestTheEpochOfTheRecordBefore:
    @pytest.mark.parametrize("keys", [{}, {"auto_commit_mode": "pre-commit", "auto_commit_interval_s": 0.05}])
    async def test_is_committed_with_the_offset(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read, keys: dict[str, Any]
    ) -> None:
        orders = await topic()
        await produce(kafka_broker.bootstrap_servers, orders)
        reader = await read(kafka_broker.bootstrap_servers, orders, name, **keys)
        await eventually(lambda: len(reader.records) == 10)
        if not keys:
            await reader.source.commit({TopicPartition(orders, 0): 10}, timeout_s=5)

        async def kept() -> Any:
            client = AIOKafkaClient(bootstrap_servers=kafka_broker.bootstrap_servers)
            await client.bootstrap()
            try:
                node = client.get_random_node()
                answer = await client.send(node, OffsetFetchWithEpochsRequest(name, [(orders, [0])]))
            finally:
                await client.close()
            [(_, [(_, offset, epoch, *_)])] = answer.topics
            assert (offset, epoch) == (10, 0)  # pre-commit may have committed an earlier position first
            return True

        await eventually(kept)


class TestAChangeOfLeader:
    @pytest.mark.parametrize("code", [74, 75, 6, 5])  # fenced, unknown, not the leader, no leader
    async def test_blocks_reading_until_the_leader_has_answered(
        self, fake: FakeKafka, name: str, read: Read, code: int
    ) -> None:
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        reader = await read(fake.bootstrap_servers, name, name)
        await eventually(lambda: reader.offsets() == list(range(10)))
        reader.listener.resets.clear()
        fault = await fake.fault(OFFSET_FOR_LEADER_EPOCH, code, topic=name, count=-1)
        await fake.move_leader(name)
        await produce(fake.bootstrap_servers, name, 5)

        async def asked_twice() -> bool:
            return await fault.hits() >= 2

        await eventually(asked_twice)
        assert len(reader.offsets()) == 10
        await fault.heal()

        await eventually(lambda: reader.offsets() == list(range(15)))
        assert reader.errors == []
        assert reader.listener.resets == []

    async def test_that_the_metadata_missed_is_noticed_by_fetched_records(
        self, fake: FakeKafka, name: str, read: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Client, "leader_and_epoch", lambda *_: (1, 0))
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        reader = await read(fake.bootstrap_servers, name, name)
        await eventually(lambda: reader.offsets() == list(range(10)))
        fault = await fake.fault(OFFSET_FOR_LEADER_EPOCH, 74, topic=name, count=-1)
        await fake.move_leader(name)
        await produce(fake.bootstrap_servers, name, 5)

        async def asked() -> bool:
            return await fault.hits() >= 1

        await eventually(asked)
        assert len(reader.offsets()) == 10
        await fault.heal()
        await eventually(lambda: reader.offsets() == list(range(15)))

    async def test_without_the_right_to_ask_ends_the_source_with_the_topic(
        self, fake: FakeKafka, name: str, read: Read
    ) -> None:
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        reader = await read(fake.bootstrap_servers, name, name)
        await eventually(lambda: len(reader.offsets()) == 10)
        await fake.fault(OFFSET_FOR_LEADER_EPOCH, 29, topic=name, count=-1)
        await fake.move_leader(name)
        await eventually(lambda: reader.errors)
        assert f"not authorized for topic {name}" in str(reader.errors[0])


class Leader:
    """A client whose broker gives a fixed answer."""

    def __init__(self, *answer: int, error: Exception | None = None) -> None:
        self._answer = answer
        self._error = error
        self.refreshed = 0

    def leader_epoch(self, _: Any) -> int:
        return 7

    async def send(self, _: int, request: Any) -> Any:
        if self._error is not None:
            raise self._error
        code, epoch, end = self._answer

        class Answer:
            topics = ((AT.topic, [(code, AT.partition, epoch, end)]),)

        return Answer

    def force_metadata_update(self) -> None:
        self.refreshed += 1


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "found"),
        [
            ((0, 5, 900), {AT: Divergence(956, EpochOffset(900, 5))}),
            ((0, 3, 256), {AT: Divergence(956, EpochOffset(256, 3))}),
            ((0, 5, 956), {}),
            ((0, 5, 2000), {}),
            ((0, -1, -1), {AT: Divergence(956, None)}),
            ((43, -1, -1), {}),
        ],
    )
    async def test_give_the_offset_where_the_logs_differ(self, answer: tuple[int, int, int], found: Any) -> None:
        assert await find_divergences(Leader(*answer), 1, {AT: EpochOffset(956, 5)}) == found

    @pytest.mark.parametrize("error", [NotImplementedError(), kafka.IncompatibleBrokerVersion()])
    async def test_of_brokers_before_2_3_are_none(self, error: Exception) -> None:
        assert await find_divergences(Leader(error=error), 1, {AT: EpochOffset(956, 5)}) == {}

    @pytest.mark.parametrize("code", [74, 75, 3, 5, 6, 9, 77])
    async def test_with_an_error_are_requested_again_with_new_metadata(self, code: int) -> None:
        leader = Leader(code, -1, -1)
        with pytest.raises(kafka.NotLeaderForPartitionError, match=r"orders\[0\]"):
            await find_divergences(leader, 1, {AT: EpochOffset(956, 5)})
        assert leader.refreshed == 1
