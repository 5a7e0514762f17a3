"""Outputs and offsets of a member of a group are committed together, and only while the partitions are its own."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as ClientPartition
from aiokafka.client import CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerRefused, CommitRefused, CommitUnknown, RecordTooLarge
from evkafka.kafka.client.group_protocol import LEAVE, ConsumerGroupHeartbeatRequest
from evkafka.records import TopicPartition
from evkafka.runtime.ports import MetadataTooLarge, OutgoingRecord, OutputRefused
from tests.support.backends import GroupProtocol
from tests.support.kafka_reader import Read, Reader
from tests.support.kafka_topics import MakeTopic, admin_of, committed, metadata, produce, read_committed
from tests.support.proxy import (
    ADD_PARTITIONS,
    CONSUMER_GROUP_HEARTBEAT,
    END_TXN,
    HEARTBEAT,
    INIT_PRODUCER_ID,
    JOIN_GROUP,
    OFFSET_FETCH,
    TXN_OFFSET_COMMIT,
    Proxy,
)
from tests.support.waiting import eventually

PROTOCOLS: tuple[GroupProtocol, ...] = ("classic", "consumer")
HEARTBEATS = {"classic": HEARTBEAT, "consumer": CONSUMER_GROUP_HEARTBEAT}

API_VERSIONS = 18

ALL = 10**6
"""So many requests are held: each one."""

Join = Callable[..., Awaitable[Reader]]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> GroupProtocol:
    found: GroupProtocol = request.param
    return found


@pytest.fixture
def join(read: Read, protocol: GroupProtocol) -> Join:
    """Starts members that write in transactions, and have partitions: `member = await join(servers, topic, group)`."""

    async def start(servers: str, topic: str, group: str, **overrides: Any) -> Reader:
        defaults = {"auto_commit_mode": "exactly-once", "group_protocol": protocol, "transaction_timeout_s": 60.0}
        member = await read(servers, topic, group, **defaults | overrides)
        await eventually(lambda: member.source.assignment())
        return member

    return start


def with_newest_version(answer: bytes, request_key: int, newest: int) -> bytes:
    """An answer to ApiVersions, of version 0 or 3, of a broker that has no newer version of this kind of request."""
    at, size = (10, 6) if len(answer) == 10 + 6 * struct.unpack_from(">i", answer, 6)[0] else (7, 7)
    for row in range(at, len(answer) - size + 1, size):
        if answer[row : row + 2] == struct.pack(">h", request_key):
            return answer[: row + 4] + struct.pack(">h", newest) + answer[row + 6 :]
    raise AssertionError(f"the broker does not offer request {request_key}")


def outputs_of(reader: Reader, out: str) -> list[OutgoingRecord]:
    """One output for each record that it has read."""
    return [OutgoingRecord(out, record.value, partition=record.partition) for record in reader.records]


async def commit_all(reader: Reader, orders: str, out: str, *, timeout_s: float = 20.0) -> None:
    """Write an output for each record that it has read, and commit them."""
    await reader.source.commit_transaction(
        outputs_of(reader, out),
        {TopicPartition(orders, 0): reader.records[-1].offset + 1},
        timeout_s=timeout_s,
        metadata={},
    )


async def values(servers: str, out: str) -> list[bytes]:
    return [record.value for record in await read_committed(servers, out)]


def numbers(end: int) -> list[bytes]:
    return [str(number).encode() for number in range(end)]


async def nothing_is_open(servers: str, topic: str) -> bool:
    """Whether readers of committed records may read all of the log."""
    place, ends = ClientPartition(topic, 0), set()
    for level in ("read_committed", "read_uncommitted"):
        async with AIOKafkaConsumer(bootstrap_servers=servers, isolation_level=level) as consumer:
            ends.add((await consumer.end_offsets([place]))[place])
    return len(ends) == 1


async def has_read(reader: Reader, count: int) -> None:
    await eventually(lambda: len(reader.records) == count)
    await reader.pause()


class Zombie(NamedTuple):
    """A member behind the proxy that has read five orders, and is removed from its group without its knowledge."""

    reader: Reader
    servers: str
    group: str
    orders: str
    out: str
    protocol: GroupProtocol

    async def commit(self) -> None:
        await commit_all(self.reader, self.orders, self.out)

    async def remove(self) -> None:
        member: Any = self.reader.source._started_consumer().coordinator
        async with admin_of(self.servers) as admin:
            client = admin._client
            node = await client.coordinator_lookup(CoordinationType.GROUP, self.group)
            if self.protocol == "classic":
                answer = await client.send(node, LeaveGroupRequest(self.group, member.member_id))
            else:
                member_id = member._membership.member_id
                answer = await client.send(node, ConsumerGroupHeartbeatRequest(self.group, member_id, LEAVE))
            assert answer.error_code == 0


class TestATransaction:
    async def test_commits_outputs_and_offsets_together(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic(partitions=2)
        await produce(servers, orders, 3)
        member = await join(servers, orders, name)
        await has_read(member, 3)
        place = TopicPartition(orders, 0)
        outputs = [
            OutgoingRecord(out, b"a", b"key", 0, 1234, [("h", b"1"), ("none", None)]),
            OutgoingRecord(out, None, b"gone", 1),
            OutgoingRecord(out, b"b", partition=0),
        ]

        await member.source.commit_transaction(outputs, {place: 3}, timeout_s=20, metadata={place: "text"})

        first, second = await read_committed(servers, out, 0)
        assert (first.key, first.value, first.timestamp, first.headers) == (
            b"key",
            b"a",
            1234,
            (("h", b"1"), ("none", None)),
        )
        assert second.value == b"b"
        assert [(record.key, record.value) for record in await read_committed(servers, out, 1)] == [(b"gone", None)]
        assert await committed(servers, name, orders) == 3
        assert await metadata(servers, name, orders) == "text"

    async def test_may_have_offsets_only_or_outputs_only(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        await produce(servers, orders, 3)
        member = await join(servers, orders, name)
        await has_read(member, 3)

        await member.source.commit_transaction([], {TopicPartition(orders, 0): 2}, timeout_s=20, metadata={})
        await member.source.commit_transaction(outputs_of(member, out), {}, timeout_s=20, metadata={})
        await member.source.commit_transaction([], {}, timeout_s=20, metadata={})

        assert await committed(servers, name, orders) == 2
        assert await values(servers, out) == numbers(3)

    async def test_keeps_the_order_of_a_partition_in_many_batches(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        member = await join(servers, orders, name)
        large = [b"%d" % number + bytes(400_000) for number in range(7)]

        for _ in range(2):
            outputs = [OutgoingRecord(out, value, partition=0) for value in large]
            await member.source.commit_transaction(outputs, {TopicPartition(orders, 0): 0}, timeout_s=30, metadata={})

        assert await values(servers, out) == large * 2

    async def test_is_split_into_batches_that_the_topic_takes(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        out = await topic(config={"max.message.bytes": 2000})
        member = await join(servers, orders, name)
        small = [b"%d" % number + bytes(500) for number in range(20)]
        outputs = [OutgoingRecord(out, value, partition=0) for value in small]

        await member.source.commit_transaction(outputs, {TopicPartition(orders, 0): 0}, timeout_s=30, metadata={})

        assert await values(servers, out) == small

    async def test_keeps_the_order_of_outputs_that_are_compressed_differently(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        member = await join(servers, orders, name)
        compressions: list[Any] = [None, "gzip", "snappy", "lz4", "zstd", "zstd", None]
        sent = [b"%d" % at * 1_000 for at in range(len(compressions))]
        outputs = [
            OutgoingRecord(out, value, partition=0, compression_type=one)
            for value, one in zip(sent, compressions, strict=True)
        ]

        await member.source.commit_transaction(outputs, {TopicPartition(orders, 0): 0}, timeout_s=30, metadata={})

        assert await values(servers, out) == sent

    async def test_with_an_output_that_is_too_large_names_it_and_writes_nothing(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        out = await topic(config={"max.message.bytes": 2000})
        member = await join(servers, orders, name)
        place = TopicPartition(orders, 0)
        small, large = OutgoingRecord(out, b"small", partition=0), OutgoingRecord(out, bytes(5000), partition=0)

        why = r"the record, \d+ bytes as a batch, is larger than the topic's max\.message\.bytes"
        with pytest.raises(OutputRefused, match=why) as refused:
            await member.source.commit_transaction([small, large, small], {place: 0}, timeout_s=30, metadata={})
        await member.source.commit_transaction([small], {place: 0}, timeout_s=30, metadata={})

        assert refused.value.output is large
        assert isinstance(refused.value.error, RecordTooLarge)
        assert refused.value.largest_bytes == 2000
        assert await values(servers, out) == [b"small"]

    async def test_with_metadata_that_are_too_large_writes_nothing(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        member = await join(servers, orders, name)
        place, output = TopicPartition(orders, 0), OutgoingRecord(out, b"1", partition=0)

        with pytest.raises(MetadataTooLarge):
            await member.source.commit_transaction([output], {place: 0}, timeout_s=30, metadata={place: "x" * 30_000})
        await member.source.commit_transaction([output], {place: 0}, timeout_s=30, metadata={place: "x" * 3_000})

        assert await values(servers, out) == [b"1"]

    async def test_to_a_topic_that_does_not_exist_names_the_output(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        orders = await topic()
        member = await join(kafka_broker.bootstrap_servers, orders, name, transaction_timeout_s=1.0)
        output = OutgoingRecord(f"{name}-absent", b"1", partition=0)

        with pytest.raises(OutputRefused, match="does not exist") as refused:
            await member.source.commit_transaction([output], {}, timeout_s=30, metadata={})

        assert refused.value.output is output


class TestTheStart:
    @pytest.mark.parametrize(
        ("request_key", "newest"),
        [(INIT_PRODUCER_ID, 2), (TXN_OFFSET_COMMIT, 2), (OFFSET_FETCH, 6), (API_VERSIONS, 2)],
        ids=["InitProducerId", "TxnOffsetCommit", "OffsetFetch", "ApiVersions"],
    )
    async def test_is_refused_before_it_joins_if_the_brokers_are_older_than_2_5(
        self, topic: MakeTopic, proxy: Proxy, name: str, join: Join, request_key: int, newest: int
    ) -> None:
        proxy.rewrite(API_VERSIONS, lambda answer: with_newest_version(answer, request_key, newest))
        orders = await topic()

        with pytest.raises(BrokerRefused, match=r"exactly-once needs Kafka 2\.5 or newer; set auto_commit_mode"):
            await join(proxy.bootstrap_servers, orders, name)
        assert not {JOIN_GROUP, CONSUMER_GROUP_HEARTBEAT, INIT_PRODUCER_ID} & set(proxy.requests)

    async def test_is_refused_if_the_brokers_do_not_accept_the_timeout(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, join: Join
    ) -> None:
        with pytest.raises(BrokerRefused, match=r"transaction_timeout_ms.*transaction\.max\.timeout\.ms"):
            await join(kafka_broker.bootstrap_servers, await topic(), name, transaction_timeout_s=901.0)


class TestAMemberThatTheGroupHasRemoved:
    """Its client has not heard of it yet. Another member has its partitions."""

    @pytest.fixture
    async def zombie(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join, protocol: GroupProtocol
    ) -> Zombie:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        await produce(servers, orders, 5)
        member = await join(proxy.bootstrap_servers, orders, name)
        await has_read(member, 5)
        return Zombie(member, servers, name, orders, out, protocol)

    async def test_commits_what_has_its_offsets_already_and_the_next_owner_waits_for_that(
        self, zombie: Zombie, proxy: Proxy, join: Join
    ) -> None:
        proxy.on(HEARTBEATS[zombie.protocol], hold=True, count=ALL)
        end = proxy.on(END_TXN, hold=True)
        committing = asyncio.ensure_future(zombie.commit())
        await end.seen.wait()

        await zombie.remove()
        async with Proxy(zombie.servers) as watched:
            heir = await join(watched.bootstrap_servers, zombie.orders, zombie.group)
            place = TopicPartition(zombie.orders, 0)
            await eventually(
                lambda: heir.source.position(place) is not None or watched.requests.count(OFFSET_FETCH) > 5
            )
            assert heir.source.position(place) is None
            end.release.set()
            await committing
            await eventually(lambda: heir.source.position(place) is not None)
            await produce(zombie.servers, zombie.orders, 2)
            await has_read(heir, 2)
            await commit_all(heir, zombie.orders, zombie.out)
            await heir.stop()

        assert await values(zombie.servers, zombie.out) == [*numbers(5), *numbers(2)]

    async def test_commits_nothing_that_has_no_offsets_yet(self, zombie: Zombie, proxy: Proxy, join: Join) -> None:
        proxy.on(HEARTBEATS[zombie.protocol], hold=True, count=ALL)
        offsets = proxy.on(TXN_OFFSET_COMMIT, hold=True)
        committing = asyncio.ensure_future(zombie.commit())
        await offsets.seen.wait()

        await zombie.remove()
        heir = await join(zombie.servers, zombie.orders, zombie.group)
        await has_read(heir, 5)
        await commit_all(heir, zombie.orders, zombie.out)
        offsets.release.set()

        with pytest.raises(CommitRefused):
            await committing
        await eventually(lambda: END_TXN in proxy.requests)  # it aborts: its transaction would stay open for a minute
        assert await eventually(lambda: values(zombie.servers, zombie.out)) == numbers(5)

    async def test_commits_nothing_when_it_has_heard_of_it(self, zombie: Zombie, proxy: Proxy, join: Join) -> None:
        """aiokafka forgets its generation then. Generation -1 is that of no member, and nobody checks it."""
        heartbeats = proxy.on(HEARTBEATS[zombie.protocol], hold=True, count=ALL)
        await heartbeats.seen.wait()
        await zombie.remove()
        heir = await join(zombie.servers, zombie.orders, zombie.group)
        await has_read(heir, 5)
        await commit_all(heir, zombie.orders, zombie.out)
        outcomes: list[BaseException | None] = []

        async def revoking(_: Collection[TopicPartition]) -> None:
            [outcome] = await asyncio.gather(zombie.commit(), return_exceptions=True)
            outcomes.append(outcome)

        zombie.reader.listener.revoking = zombie.reader.listener.losing = revoking
        heartbeats.release.set()

        [outcome] = await eventually(lambda: outcomes)
        assert isinstance(outcome, CommitRefused)
        assert await values(zombie.servers, zombie.out) == numbers(5)


class TestWithoutAnAnswer:
    @pytest.fixture
    def protocol(self) -> GroupProtocol:
        return "classic"

    async def test_a_late_commit_does_not_commit_the_next_transaction(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        member = await join(proxy.bootstrap_servers, orders, name)
        place = TopicPartition(orders, 0)
        first, second = (OutgoingRecord(out, value, partition=0) for value in (b"first", b"second"))
        late = proxy.on(END_TXN, hold=True, count=ALL)
        with pytest.raises(CommitUnknown, match="it may have been committed"):
            await member.source.commit_transaction([first], {place: 1}, timeout_s=0.5, metadata={})
        await eventually(lambda: proxy.requests.count(INIT_PRODUCER_ID) >= 2)

        offsets = proxy.on(TXN_OFFSET_COMMIT, hold=True)
        committing = asyncio.ensure_future(
            member.source.commit_transaction([second], {place: 2}, timeout_s=20, metadata={})
        )
        await offsets.seen.wait()
        late.count = 0
        late.release.set()
        offsets.release.set()
        try:
            await committing
        except CommitRefused:  # the request for a producer id, behind the commit on its connection, came late too
            await member.source.commit_transaction([second], {place: 2}, timeout_s=20, metadata={})

        assert await values(servers, out) == [b"second"]
        assert await committed(servers, name, orders) == 2

    async def test_an_answer_that_cannot_be_read_leaves_open_whether_it_was_committed(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        member = await join(proxy.bootstrap_servers, orders, name, transaction_timeout_s=4.0)
        place = TopicPartition(orders, 0)
        proxy.rewrite(END_TXN, lambda answer: answer[:-1])

        with pytest.raises(CommitUnknown, match="it may have been committed"):
            await member.source.commit_transaction(
                [OutgoingRecord(out, b"1", partition=0)], {place: 1}, timeout_s=20, metadata={}
            )

        assert await values(servers, out) == [b"1"]

    async def test_a_cancelled_commit_leaves_nothing_open(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        member = await join(proxy.bootstrap_servers, orders, name, transaction_timeout_s=4.0)
        output = OutgoingRecord(out, b"cancelled", partition=0)
        held = proxy.on(TXN_OFFSET_COMMIT, hold=True)
        committing = asyncio.ensure_future(
            member.source.commit_transaction([output], {TopicPartition(orders, 0): 1}, timeout_s=20, metadata={})
        )
        await held.seen.wait()
        committing.cancel()

        await eventually(lambda: nothing_is_open(servers, out))
        held.release.set()
        assert await values(servers, out) == []

    async def test_a_stop_aborts_what_is_open(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, name: str, join: Join
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        member = await join(proxy.bootstrap_servers, orders, name)
        output = OutgoingRecord(out, b"open", partition=0)
        held = proxy.on(ADD_PARTITIONS, cut="after")
        committing = asyncio.ensure_future(
            member.source.commit_transaction([output], {TopicPartition(orders, 0): 1}, timeout_s=20, metadata={})
        )
        await held.seen.wait()
        committing.cancel()

        await member.stop(timeout_s=10)

        assert await nothing_is_open(servers, out)
