"""The two backends of the suite, the in-memory Kafka and a real one, behind one interface, with either group
protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, Protocol, TypeVar

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from evkafka import EVKafkaApp
from evkafka.broker import KafkaBroker
from evkafka.exceptions import StopApp
from evkafka.testing import InMemoryKafka
from tests.support.kafka_topics import create_topic
from tests.support.waiting import eventually

T = TypeVar("T")
Headers = Sequence[tuple[str, bytes | None]]

CONCURRENCY = 8

GroupProtocol = Literal["classic", "consumer"]

CLASSIC_KEYS: dict[str, Any] = {"heartbeat_interval_ms": 100, "session_timeout_ms": 6000}
"""With the consumer protocol these are settings of the brokers."""


class Backend(Protocol):
    """The operations of a conformance test on Kafka."""

    real: bool
    group_protocol: GroupProtocol

    async def topic(self, partitions: int = 1, *, name: str | None = None) -> str: ...
    def config(self, *topics: str, **keys: Any) -> dict[str, Any]: ...
    def running(self, app: EVKafkaApp) -> contextlib.AbstractAsyncContextManager[object]: ...
    async def send(
        self,
        topic: str,
        value: Any,
        event_type: str | None = "E",
        *,
        partition: int = 0,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None: ...
    async def make_gap(self, topic: str, partition: int = 0) -> None: ...
    async def delete_records(self, topic: str, partition: int = 0, *, before: int) -> None: ...
    async def add_partitions(self, topic: str, total: int) -> None: ...
    async def committed(self, config: dict[str, Any], topic: str, partition: int = 0) -> int | None: ...
    async def values(self, topic: str) -> list[tuple[bytes | None, dict[str, bytes | None]]]: ...
    async def rebalance(self, app: EVKafkaApp, config: dict[str, Any]) -> None: ...
    async def until(self, predicate: Callable[[], T | Awaitable[T]]) -> T: ...


def as_bytes(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()


class MemoryBackend:
    real = False

    def __init__(self, group_protocol: GroupProtocol = "classic") -> None:
        self.group_protocol: GroupProtocol = group_protocol
        self.kafka = InMemoryKafka(seed=1)

    async def topic(self, partitions: int = 1, *, name: str | None = None) -> str:
        name = name or f"t-{uuid.uuid4().hex[:8]}"
        self.kafka.create_topic(name, partitions)
        return name

    def config(self, *topics: str, **keys: Any) -> dict[str, Any]:
        return {
            "topics": list(topics),
            "group_id": f"g-{uuid.uuid4().hex[:8]}",
            "group_protocol": self.group_protocol,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            **keys,
        }

    def running(self, app: EVKafkaApp) -> contextlib.AbstractAsyncContextManager[object]:
        return self.kafka.running(app)

    async def send(
        self,
        topic: str,
        value: Any,
        event_type: str | None = "E",
        *,
        partition: int = 0,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        typed = [("Event-Type", event_type.encode())] if event_type is not None else []
        await self.kafka.send(topic, as_bytes(value), key=key, partition=partition, headers=[*typed, *headers])

    async def make_gap(self, topic: str, partition: int = 0) -> None:
        async with self.kafka.transaction() as transaction:
            await transaction.send(topic, b"aborted", "E", partition=partition)
            transaction.abort()

    async def delete_records(self, topic: str, partition: int = 0, *, before: int) -> None:
        self.kafka.delete_records(topic, partition, before=before)

    async def add_partitions(self, topic: str, total: int) -> None:
        self.kafka.add_partitions(topic, total - len(self.kafka.topics.partitions(topic)))

    async def committed(self, config: dict[str, Any], topic: str, partition: int = 0) -> int | None:
        return self.kafka.committed(config["group_id"], topic, partition)

    async def values(self, topic: str) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        return [(record.value, dict(record.headers)) for record in self.kafka.records(topic)]

    async def rebalance(self, app: EVKafkaApp, config: dict[str, Any]) -> None:
        self.kafka.group(config["group_id"]).start_full_rebalance()

    async def until(self, predicate: Callable[[], T | Awaitable[T]]) -> T:
        """Advance the virtual clock, a tenth of a second at a time, until the predicate returns a true value."""
        failure: AssertionError | None = None
        for step in range(3000):
            failure = None
            try:
                result = predicate()
                value = await result if asyncio.iscoroutine(result) else result
                if value:
                    return value  # type: ignore[return-value]
            except AssertionError as error:
                failure = error
            await asyncio.sleep(0.001 if step % 20 == 0 else 0)  # let threads run
            await self.kafka.advance(ms=100)
        raise failure or AssertionError("the predicate stayed false for five minutes of the virtual clock")


class RealBackend:
    """A real Kafka. Its clients are created when they are first needed, and are used for the whole test."""

    real = True

    def __init__(self, bootstrap_servers: str, group_protocol: GroupProtocol = "classic") -> None:
        self.servers = bootstrap_servers
        self.group_protocol: GroupProtocol = group_protocol
        self._clients = AsyncExitStack()
        self._admin_client: AIOKafkaAdminClient | None = None
        self._producer: AIOKafkaProducer | None = None
        self._creating = asyncio.Lock()

    async def close(self) -> None:
        await self._clients.aclose()

    async def topic(self, partitions: int = 1, *, name: str | None = None) -> str:
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        admin = await self._admin()
        await create_topic(admin, name, partitions)
        return name

    def config(self, *topics: str, **keys: Any) -> dict[str, Any]:
        return {
            "topics": list(topics),
            "bootstrap_servers": self.servers,
            "group_id": f"g-{uuid.uuid4().hex[:12]}",
            "group_protocol": self.group_protocol,
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            **(CLASSIC_KEYS if self.group_protocol == "classic" else {}),
            **keys,
        }

    def running(self, app: EVKafkaApp) -> contextlib.AbstractAsyncContextManager[object]:
        return app.running(on_failure=lambda _: None)

    async def send(
        self,
        topic: str,
        value: Any,
        event_type: str | None = "E",
        *,
        partition: int = 0,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        async with self._creating:
            if self._producer is None:
                producer = AIOKafkaProducer(bootstrap_servers=self.servers)
                self._producer = await self._clients.enter_async_context(producer)
        typed = [("Event-Type", event_type.encode())] if event_type is not None else []
        await self._producer.send_and_wait(
            topic,
            as_bytes(value),
            key=b"" if key is None and value is None else key,  # aiokafka sends no null value without a key
            partition=partition,
            headers=[*typed, *headers],  # type: ignore[list-item]
        )

    async def make_gap(self, topic: str, partition: int = 0) -> None:
        """Write an aborted transaction: a record that is never delivered, and its marker."""
        producer = AIOKafkaProducer(bootstrap_servers=self.servers, transactional_id=f"x-{uuid.uuid4().hex[:8]}")
        async with producer:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"aborted", partition=partition, headers=[("Event-Type", b"E")])
            await producer.abort_transaction()

    async def delete_records(self, topic: str, partition: int = 0, *, before: int) -> None:
        admin = await self._admin()
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})

    async def add_partitions(self, topic: str, total: int) -> None:
        admin = await self._admin()
        await admin.create_partitions({topic: NewPartitions(total)})
        if (producer := self._producer) is not None:

            async def known() -> bool:
                await producer.client.force_metadata_update()
                return len(producer.client.cluster.partitions_for_topic(topic) or ()) == total

            await eventually(known)

    async def committed(self, config: dict[str, Any], topic: str, partition: int = 0) -> int | None:
        admin = await self._admin()
        try:
            offsets = await admin.list_consumer_group_offsets(config["group_id"])
        except GroupCoordinatorNotAvailableError:  # the coordinator is being created
            return None
        found = offsets.get(TopicPartition(topic, partition))
        return found.offset if found is not None and found.offset >= 0 else None

    async def values(self, topic: str) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        admin = await self._admin()
        [described] = await admin.describe_topics([topic])
        if not described["partitions"]:
            return []
        reader = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        async with reader:
            partitions = sorted(reader.assignment())
            ends = await reader.end_offsets(partitions)
            found: dict[TopicPartition, list[Any]] = {tp: [] for tp in partitions}
            while any([ends[tp] and await reader.position(tp) < ends[tp] for tp in partitions]):
                for tp, records in (await reader.getmany(timeout_ms=200)).items():
                    found[tp] += [(record.value, dict(record.headers)) for record in records]
        return [pair for tp in partitions for pair in found[tp]]

    async def rebalance(self, app: EVKafkaApp, config: dict[str, Any]) -> None:
        """Start another member, which causes a rebalance."""
        consumer = AIOKafkaConsumer(
            *config["topics"], bootstrap_servers=self.servers, group_id=config["group_id"], enable_auto_commit=False
        )
        joining = asyncio.ensure_future(consumer.start())

        async def leave() -> None:
            await joining
            await consumer.stop()

        self._clients.push_async_callback(leave)

    async def until(self, predicate: Callable[[], T | Awaitable[T]]) -> T:
        return await eventually(predicate)

    async def _admin(self) -> AIOKafkaAdminClient:
        async with self._creating:
            if self._admin_client is None:
                admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
                await admin.start()
                self._clients.push_async_callback(admin.close)
                self._admin_client = admin
            return self._admin_client


class Named(Protocol):
    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Named)


async def check_all(
    servers: str,
    rows: Sequence[R],
    check: Callable[[Backend, R], Awaitable[None]],
    *,
    group_protocol: GroupProtocol = "classic",
) -> None:
    """Check all rows on a real Kafka, several at once, because they mostly wait for joins.

    Raises:
        ExceptionGroup: some rows failed; each error has its row's name in a note.
    """
    backend, slots, errors = RealBackend(servers, group_protocol), asyncio.Semaphore(CONCURRENCY), list[Exception]()

    async def check_one(row: R) -> None:
        async with slots:
            try:
                await check(backend, row)
            except Exception as error:  # the other rows still run
                error.add_note(f"row: {row.name}")
                errors.append(error)

    try:
        await asyncio.gather(*map(check_one, rows))
    finally:
        await backend.close()
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(rows)} rows differ on a real Kafka", errors)


@contextlib.contextmanager
def stopping_app() -> Any:
    """Catch the StopApp that an app raises at its exit if a record has stopped it."""
    caught: list[StopApp] = []
    try:
        yield caught
    except StopApp as error:
        caught.append(error)


__all__ = ["Backend", "KafkaError", "MemoryBackend", "RealBackend", "check_all", "open_backend", "stopping_app"]


@asynccontextmanager
async def open_backend(
    request: pytest.FixtureRequest, kind: Literal["memory", "real"], group_protocol: GroupProtocol = "classic"
) -> AsyncIterator[Backend]:
    """A backend for one test."""
    if kind == "memory":
        memory = MemoryBackend(group_protocol)
        async with memory.kafka:
            yield memory
    else:
        real = RealBackend(request.getfixturevalue("kafka_broker").bootstrap_servers, group_protocol)
        yield real
        await real.close()


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async with open_backend(request, request.param) as opened:
        yield opened


@pytest.fixture
async def kafka(kafka_broker: KafkaBroker) -> AsyncIterator[RealBackend]:
    backend = RealBackend(kafka_broker.bootstrap_servers)
    yield backend
    await backend.close()


async def committed_is(backend: Backend, config: dict[str, Any], topic: str, offset: int, partition: int = 0) -> None:
    """Wait until this offset is committed."""

    async def reached() -> bool:
        found = await backend.committed(config, topic, partition)
        assert found == offset
        return True

    await backend.until(reached)
