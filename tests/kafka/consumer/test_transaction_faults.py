"""Transactions while brokers refuse requests, answer late, or not at all: each is committed once, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import (
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    CommitRefused,
    CommitUnknown,
)
from evkafka.kafka.errors import ErrorCode
from evkafka.kafka.producer.transactional_producer import TransactionalProducer
from evkafka.records import TopicPartition
from evkafka.runtime.ports import MetadataTooLarge, OutgoingRecord, OutputRefused
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_reader import Read, Reader
from tests.support.kafka_topics import MakeTopic, committed, read_committed
from tests.support.proxy import (
    ADD_OFFSETS,
    ADD_PARTITIONS,
    END_TXN,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Proxy,
)
from tests.support.waiting import eventually

COMMITTED = None
"""The outcome of a fault that costs only time."""

Outcome = type[BrokerError] | None

ANY: Mapping[int, Outcome] = {
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: COMMITTED,
    ErrorCode.COORDINATOR_NOT_AVAILABLE: COMMITTED,
    ErrorCode.NOT_COORDINATOR: COMMITTED,
    ErrorCode.CONCURRENT_TRANSACTIONS: COMMITTED,
    ErrorCode.INVALID_PRODUCER_EPOCH: CommitRefused,
    ErrorCode.INVALID_TXN_STATE: BrokerError,
    ErrorCode.INVALID_PRODUCER_ID_MAPPING: BrokerError,
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: BrokerRefused,
    ErrorCode.PRODUCER_FENCED: CommitRefused,
    ErrorCode.TRANSACTION_ABORTABLE: BrokerError,
    ErrorCode.UNKNOWN_SERVER_ERROR: BrokerError,
}

ANSWERS: Mapping[str, tuple[int, Mapping[int, Outcome]]] = {
    "AddPartitionsToTxn": (
        ADD_PARTITIONS,
        ANY
        | {
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: COMMITTED,
            ErrorCode.TOPIC_AUTHORIZATION_FAILED: OutputRefused,
        },
    ),
    "AddOffsetsToTxn": (ADD_OFFSETS, ANY | {ErrorCode.GROUP_AUTHORIZATION_FAILED: BrokerRefused}),
    "Produce": (
        PRODUCE,
        {
            ErrorCode.CORRUPT_MESSAGE: COMMITTED,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: COMMITTED,
            ErrorCode.LEADER_NOT_AVAILABLE: COMMITTED,
            ErrorCode.NOT_LEADER_OR_FOLLOWER: COMMITTED,
            ErrorCode.REQUEST_TIMED_OUT: COMMITTED,
            ErrorCode.NOT_ENOUGH_REPLICAS: COMMITTED,
            ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: COMMITTED,
            ErrorCode.KAFKA_STORAGE_ERROR: COMMITTED,
            ErrorCode.FENCED_LEADER_EPOCH: COMMITTED,
            ErrorCode.MESSAGE_TOO_LARGE: OutputRefused,
            ErrorCode.TOPIC_AUTHORIZATION_FAILED: OutputRefused,
            ErrorCode.INVALID_TIMESTAMP: OutputRefused,
            ErrorCode.INVALID_RECORD: OutputRefused,
            ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER: BrokerError,
            ErrorCode.INVALID_PRODUCER_EPOCH: CommitRefused,
            ErrorCode.INVALID_TXN_STATE: BrokerError,
            ErrorCode.UNKNOWN_PRODUCER_ID: BrokerError,
            ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT: BrokerRefused,
            ErrorCode.TRANSACTION_ABORTABLE: BrokerError,
        },
    ),
    "TxnOffsetCommit": (
        TXN_OFFSET_COMMIT,
        {code: outcome for code, outcome in ANY.items() if code != ErrorCode.CONCURRENT_TRANSACTIONS}
        | {
            ErrorCode.REQUEST_TIMED_OUT: COMMITTED,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: CommitRefused,
            ErrorCode.OFFSET_METADATA_TOO_LARGE: MetadataTooLarge,
            ErrorCode.ILLEGAL_GENERATION: CommitRefused,
            ErrorCode.UNKNOWN_MEMBER_ID: CommitRefused,
            ErrorCode.REBALANCE_IN_PROGRESS: CommitRefused,
            ErrorCode.FENCED_INSTANCE_ID: CommitRefused,
            ErrorCode.GROUP_AUTHORIZATION_FAILED: BrokerRefused,
        },
    ),
    "EndTxn": (END_TXN, ANY),
}

AT_THE_START: Mapping[int, Outcome] = ANY | {ErrorCode.INVALID_TRANSACTION_TIMEOUT: BrokerRefused}

EACH_REQUEST = [INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, PRODUCE, TXN_OFFSET_COMMIT, END_TXN]
NAMES = ["InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "Produce", "TxnOffsetCommit", "EndTxn"]


class Writer(NamedTuple):
    """A member of a group that writes to `out` what it has read from `orders`."""

    reader: Reader
    orders: str
    out: str
    written: list[bytes]

    async def commit(self, value: bytes, *, timeout_s: float = 10.0) -> None:
        """Write one value, and commit one more offset."""
        place = TopicPartition(self.orders, 0)
        output = OutgoingRecord(self.out, value, partition=0)
        await self.reader.source.commit_transaction(
            [output], {place: len(self.written) + 1}, timeout_s=timeout_s, metadata={place: value.decode()}
        )
        self.written.append(value)

    async def commit_eventually(self, value: bytes) -> None:
        """Also if the member has to join its group again."""

        async def done() -> bool:
            try:
                await self.commit(value)
            except CommitRefused:
                return False
            return True

        await eventually(done)

    async def check(self, servers: str, group: str) -> None:
        """What was written is there once and in order, and the offset is that of the last one."""
        assert [record.value for record in await read_committed(servers, self.out)] == self.written
        assert await committed(servers, group, self.orders) == len(self.written)


Start = Callable[..., Awaitable[Writer]]


@pytest.fixture
def start(read: Read) -> Start:
    """Starts a writer: `writer = await start(servers, orders, out, group)`."""

    async def start_writer(
        servers: str, orders: str, out: str, group: str, *, timeout_s: float = 10.0, session_timeout_s: float = 6.0
    ) -> Writer:
        reader = await read(
            servers,
            orders,
            group,
            auto_commit_mode="exactly-once",
            transaction_timeout_s=timeout_s,
            session_timeout_s=session_timeout_s,
        )
        await eventually(lambda: reader.source.position(TopicPartition(orders, 0)) is not None)
        return Writer(reader, orders, out, [])

    return start_writer


@pytest.fixture
async def fake_writer(fake: FakeKafka, start: Start, name: str) -> Writer:
    """A writer on the fake cluster; topics and group have the test's name."""
    out = f"{name}-out"
    await fake.create(name)
    await fake.create(out)
    return await start(fake.bootstrap_servers, name, out, name, timeout_s=2.0, session_timeout_s=1.0)


class TestAnswers:
    @pytest.mark.parametrize("kind", ANSWERS)
    async def test_lead_to_a_transaction_that_is_committed_once_or_not_at_all(
        self, fake: FakeKafka, fake_writer: Writer, name: str, kind: str
    ) -> None:
        key, outcomes = ANSWERS[kind]
        differences = []
        for code, expected in outcomes.items():
            fault = await fake.fault(key, code)
            outcome: Outcome = COMMITTED
            try:
                await fake_writer.commit(f"during {code}".encode(), timeout_s=2.0)
            except BrokerError as error:
                outcome = type(error)
            is_as_expected = outcome is expected or (expected is not None and issubclass(outcome or object, expected))
            if not is_as_expected or await fault.hits() != 1:
                differences.append((code, outcome, expected, await fault.hits()))
            await fault.heal()
            await fake_writer.commit_eventually(f"after {code}".encode())

        assert differences == []
        await fake_writer.check(fake.bootstrap_servers, name)

    async def test_to_the_request_for_a_producer_id_are_reported_at_the_start(self, fake: FakeKafka, name: str) -> None:
        host, port = fake.bootstrap_servers.split(",")[0].split(":")
        outcomes: dict[int, Outcome] = {}
        for code, expected in AT_THE_START.items():
            fault = await fake.fault(INIT_PRODUCER_ID, code)
            producer = TransactionalProducer(fake.connection, f"{name}-{code}", timeout_s=10.0)
            outcomes[code] = expected
            try:
                await producer.start(first=(host, int(port)), timeout_s=10.0)
            except BrokerError as error:
                outcomes[code] = expected if expected is not None and isinstance(error, expected) else type(error)
            else:
                outcomes[code] = COMMITTED
            finally:
                await producer.stop(timeout_s=3.0)
            assert await fault.hits() == 1
            await fault.heal()

        assert outcomes == AT_THE_START

    async def test_that_ask_for_another_producer_id_are_followed_before_the_next_transaction(
        self, fake: FakeKafka, fake_writer: Writer, name: str
    ) -> None:
        waits = ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.NOT_COORDINATOR
        faults = [await fake.fault(INIT_PRODUCER_ID, code) for code in (*waits, ErrorCode.INVALID_PRODUCER_ID_MAPPING)]
        await fake.fault(END_TXN, ErrorCode.INVALID_TXN_STATE)
        with pytest.raises(BrokerError):
            await fake_writer.commit(b"not committed")

        await fake_writer.commit(b"one")

        assert [await fault.hits() for fault in faults] == [1, 1, 1]
        await fake_writer.check(fake.bootstrap_servers, name)


class TestSilence:
    @pytest.mark.parametrize("key", EACH_REQUEST, ids=NAMES)
    async def test_for_a_while_costs_time_only(self, fake: FakeKafka, fake_writer: Writer, name: str, key: int) -> None:
        if key == INIT_PRODUCER_ID:
            await fake.fault(END_TXN, ErrorCode.INVALID_TXN_STATE)
            with pytest.raises(BrokerError):
                await fake_writer.commit(b"not committed")
        await fake.never_answer(key)
        await fake_writer.commit_eventually(b"one")
        await fake.hang_up(key)
        await fake_writer.commit_eventually(b"two")
        await fake.delay(key, delay_ms=700)
        await fake_writer.commit_eventually(b"three")
        await fake_writer.commit_eventually(b"four")

        await fake_writer.check(fake.bootstrap_servers, name)

    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            (ADD_PARTITIONS, BrokerUnavailable),
            (ADD_OFFSETS, BrokerUnavailable),
            (PRODUCE, BrokerUnavailable),
            (TXN_OFFSET_COMMIT, BrokerUnavailable),
            (END_TXN, CommitUnknown),
        ],
        ids=NAMES[1:],
    )
    async def test_until_the_deadline_leaves_nothing_open(
        self, fake: FakeKafka, fake_writer: Writer, name: str, key: int, expected: type[BrokerError]
    ) -> None:
        await fake.never_answer(key, count=3)
        with pytest.raises(expected, match="committed"):
            await fake_writer.commit(b"not committed", timeout_s=1.2)

        await fake_writer.commit_eventually(b"one")

        await fake_writer.check(fake.bootstrap_servers, name)

    @pytest.mark.parametrize("key", EACH_REQUEST[1:], ids=NAMES[1:])
    async def test_after_a_request_took_effect_repeats_nothing(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy, start: Start, name: str, key: int
    ) -> None:
        servers, orders, out = kafka_broker.bootstrap_servers, await topic(), await topic()
        writer = await start(proxy.bootstrap_servers, orders, out, name)
        lost = proxy.on(key, cut="after")

        await writer.commit(b"one")
        await writer.commit(b"two")

        assert lost.hits == 1
        await writer.check(servers, name)
