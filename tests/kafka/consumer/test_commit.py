"""Commits: as the current member, within their time, and never for revoked partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, CommitRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.ports import MetadataTooLarge
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_reader import Read, Reader
from tests.support.kafka_topics import MakeTopic, committed, metadata, produce
from tests.support.proxy import COMMIT, Proxy
from tests.support.waiting import SLACK_S, eventually


async def _reading(read: Read, servers: str, topic: str, group: str, **overrides: object) -> Reader:
    reader = await read(servers, topic, group, **overrides)
    await eventually(lambda: any(reader.listener.assigned) or reader.errors)  # a new topic may be unknown at first
    assert reader.errors == []
    return reader


class TestAllowedCommits:
    async def test_refuses_partitions_that_are_not_assigned(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        orders = await topic()
        reader = await _reading(read, kafka_broker.bootstrap_servers, orders, name)

        with pytest.raises(CommitRefused, match="not assigned"):
            await reader.source.commit({TopicPartition(orders, 7): 1}, timeout_s=5)

    async def test_a_commit_inside_the_revocation_is_written(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await _reading(read, servers, orders, name)

        async def commit_all(partitions: Collection[TopicPartition]) -> None:
            await first.source.commit(dict.fromkeys(partitions, 3), timeout_s=5)

        first.listener.revoking = commit_all
        second = await _reading(read, servers, orders, name)

        await eventually(lambda: len(second.listener.assigned[-1]) == 1)
        assert await committed(servers, name, orders, 0) == 3
        assert await committed(servers, name, orders, 1) == 3

    async def test_after_a_revocation_nothing_of_it_may_be_committed(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await _reading(read, servers, orders, name)
        second = await _reading(read, servers, orders, name)
        await eventually(lambda: len(second.source.assignment()) == 1 and len(first.source.assignment()) == 1)
        (gone,) = second.source.assignment()
        await second.source.commit({gone: 10}, timeout_s=5)

        with pytest.raises(CommitRefused):
            await first.source.commit({gone: 3}, timeout_s=5)
        assert await committed(servers, name, orders, gone.partition) == 10

    async def test_a_commit_that_waited_through_a_rebalance_is_refused(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await _reading(read, servers, orders, name)
        lock = first.source._started_consumer().coordinator._commit_lock
        await lock.acquire()  # another commit is in progress
        waiting = asyncio.ensure_future(
            first.source.commit({TopicPartition(orders, 0): 3, TopicPartition(orders, 1): 3}, timeout_s=30)
        )
        second = await _reading(read, servers, orders, name)
        await eventually(lambda: len(second.source.assignment()) == 1 and len(first.source.assignment()) == 1)
        (gone,) = second.source.assignment()
        await second.source.commit({gone: 10}, timeout_s=5)
        lock.release()

        with pytest.raises(CommitRefused, match="revoked"):
            await waiting
        assert await committed(servers, name, orders, gone.partition) == 10

    async def test_a_commit_delayed_in_the_network_is_never_written_after_the_revocation(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic(partitions=2)
        first = await _reading(read, proxy.bootstrap_servers, orders, name, session_timeout_s=1.0)
        blocked = proxy.on(COMMIT, hold=True)
        with pytest.raises(CommitUnknown):
            await first.source.commit({TopicPartition(orders, 0): 3, TopicPartition(orders, 1): 3}, timeout_s=0.3)
        # Its heartbeats wait behind the commit on the same connection, so the member is expelled.
        second = await _reading(read, servers, orders, name)
        both = {TopicPartition(orders, 0), TopicPartition(orders, 1)}
        await eventually(lambda: second.listener.assigned[-1] == both)
        await second.source.commit(dict.fromkeys(both, 10), timeout_s=5)
        await second.pause()
        blocked.release.set()

        await eventually(lambda: first.source.state() == "joining" or len(first.listener.assigned) > 1)
        assert await committed(servers, name, orders, 0) == 10
        assert await committed(servers, name, orders, 1) == 10


class TestDeadlines:
    async def test_without_an_answer_the_outcome_is_unknown_at_the_deadline(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        orders = await topic()
        reader = await _reading(read, proxy.bootstrap_servers, orders, name)
        await proxy.set("blackhole")
        began = asyncio.get_running_loop().time()

        with pytest.raises(CommitUnknown, match="may have been written"):
            await reader.source.commit({TopicPartition(orders, 0): 3}, timeout_s=0.5)
        assert asyncio.get_running_loop().time() - began < 0.5 + SLACK_S

    async def test_a_connection_cut_after_the_request_is_tried_again(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        orders = await topic()
        reader = await _reading(read, proxy.bootstrap_servers, orders, name)
        cut = proxy.on(COMMIT, cut="after")

        await reader.source.commit({TopicPartition(orders, 0): 3}, timeout_s=10)

        assert cut.hits == 1
        assert await committed(kafka_broker.bootstrap_servers, name, orders) == 3

    async def test_without_a_coordinator_nothing_was_written(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        orders = await topic()
        reader = await _reading(read, proxy.bootstrap_servers, orders, name)
        await proxy.set("refuse")
        await eventually(lambda: reader.source._started_consumer().coordinator.coordinator_id is None)

        with pytest.raises(BrokerUnavailable, match="nothing was written"):
            await reader.source.commit({TopicPartition(orders, 0): 3}, timeout_s=0.5)


class TestAnswers:
    @pytest.mark.parametrize("code", [22, 25, 27, 82])
    async def test_an_answer_of_another_generation_is_a_refusal_and_the_member_joins_again(
        self, fake: FakeKafka, name: str, read: Read, code: int
    ) -> None:
        await fake.create(name)
        reader = await _reading(read, fake.bootstrap_servers, name, name, session_timeout_s=1.0)
        await fake.fault(8, code, group=name)

        with pytest.raises(CommitRefused):
            await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)
        await eventually(lambda: len(reader.listener.assigned) >= 2)
        await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)

    @pytest.mark.parametrize("code", [14, 15, 16, 7])
    async def test_transient_errors_are_retried_within_the_time(
        self, fake: FakeKafka, name: str, read: Read, code: int
    ) -> None:
        await fake.create(name)
        reader = await _reading(read, fake.bootstrap_servers, name, name)
        fault = await fake.fault(8, code, group=name, count=2)

        await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)

        assert await fault.hits() == 2
        assert await committed(fake.bootstrap_servers, name, name) == 3

    @pytest.mark.parametrize(
        ("code", "kind"), [(29, BrokerRefused), (30, BrokerRefused), (12, BrokerError), (3, CommitRefused)]
    )
    async def test_a_final_refusal_is_raised_at_once(
        self, fake: FakeKafka, name: str, read: Read, code: int, kind: type[BrokerError]
    ) -> None:
        await fake.create(name)
        reader = await _reading(read, fake.bootstrap_servers, name, name)
        await fake.fault(8, code, group=name)

        with pytest.raises(kind, match=r"committing|not authorized"):
            await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=5)

    async def test_metadata_that_is_too_large_is_an_error_of_its_own(
        self, fake: FakeKafka, name: str, read: Read
    ) -> None:
        await fake.create(name)
        place = TopicPartition(name, 0)
        reader = await _reading(read, fake.bootstrap_servers, name, name)
        await fake.fault(8, 12, group=name)

        with pytest.raises(MetadataTooLarge, match="another try needs less metadata"):
            await reader.source.commit({place: 3}, timeout_s=5, metadata={place: "x" * 100})
        await reader.source.commit({place: 3}, timeout_s=5, metadata={place: "x" * 50})
        assert await metadata(fake.bootstrap_servers, name, name) == "x" * 50

    async def test_finds_a_coordinator_that_has_moved(self, fake: FakeKafka, name: str, read: Read) -> None:
        await fake.create(name)
        await produce(fake.bootstrap_servers, name)
        reader = await _reading(read, fake.bootstrap_servers, name, name)
        await fake.move_coordinator(name)

        await reader.source.commit({TopicPartition(name, 0): 3}, timeout_s=10)
