"""The two backends of the suite: the in-memory Kafka and a real one, behind the same few calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeVar

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from evkafka import EVKafkaApp
from evkafka.broker import KafkaBroker
from evkafka.runtime.settle import StopApp
from evkafka.testing import InMemoryKafka
from tests.support.waiting import eventually

T = TypeVar("T")
Headers = Sequence[tuple[str, bytes | None]]

AT_ONCE = 8


class Backend(Protocol):
    """What a conformance test does to a Kafka."""

    real: bool

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
    async def make_a_gap(self, topic: str, partition: int = 0) -> None: ...
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

    def __init__(self) -> None:
        self.kafka = InMemoryKafka(seed=1)

    async def topic(self, partitions: int = 1, *, name: str | None = None) -> str:
        name = name or f"t-{uuid.uuid4().hex[:8]}"
        self.kafka.create_topic(name, partitions)
        return name

    def config(self, *topics: str, **keys: Any) -> dict[str, Any]:
        return {
            "topics": list(topics),
            "group_id": f"g-{uuid.uuid4().hex[:8]}",
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

    async def make_a_gap(self, topic: str, partition: int = 0) -> None:
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
        self.kafka.group(config["group_id"]).rebalance()

    async def until(self, predicate: Callable[[], T | Awaitable[T]]) -> T:
        """Let virtual time pass, a tenth of a second at a time, until it says something true."""
        refusal: AssertionError | None = None
        for _ in range(3000):
            refusal = None
            try:
                answer = predicate()
                value = await answer if asyncio.iscoroutine(answer) else answer
                if value:
                    return value  # type: ignore[return-value]
            except AssertionError as error:
                refusal = error
            await asyncio.sleep(0.001 if _ % 20 == 0 else 0)  # a turn for threads
            await self.kafka.advance(ms=100)
        raise refusal or AssertionError("did not come about within five minutes of the virtual clock")


class RealBackend:
    """A real Kafka. Its clients are made when they are first needed, and serve the whole test."""

    real = True

    def __init__(self, bootstrap_servers: str) -> None:
        self.servers = bootstrap_servers
        self._clients = AsyncExitStack()
        self._admin_client: AIOKafkaAdminClient | None = None
        self._producer: AIOKafkaProducer | None = None
        self._making = asyncio.Lock()

    async def close(self) -> None:
        await self._clients.aclose()

    async def topic(self, partitions: int = 1, *, name: str | None = None) -> str:
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        admin = await self._admin()
        await admin.create_topics([NewTopic(name, partitions, 1)])
        return name

    def config(self, *topics: str, **keys: Any) -> dict[str, Any]:
        return {
            "topics": list(topics),
            "bootstrap_servers": self.servers,
            "group_id": f"g-{uuid.uuid4().hex[:12]}",
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 100,
            "heartbeat_interval_ms": 100,
            "session_timeout_ms": 6000,
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
        async with self._making:
            if self._producer is None:
                producer = AIOKafkaProducer(bootstrap_servers=self.servers)
                self._producer = await self._clients.enter_async_context(producer)
        typed = [("Event-Type", event_type.encode())] if event_type is not None else []
        await self._producer.send_and_wait(
            topic,
            as_bytes(value),
            key=b"" if key is None and value is None else key,  # the client sends no null without a key
            partition=partition,
            headers=[*typed, *headers],  # type: ignore[list-item]
        )

    async def make_a_gap(self, topic: str, partition: int = 0) -> None:
        """An aborted transaction: a record that nobody may read, and the marker behind it."""
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
        except GroupCoordinatorNotAvailableError:  # it is in the making
            return None
        found = offsets.get(TopicPartition(topic, partition))
        return found.offset if found is not None and found.offset >= 0 else None

    async def values(self, topic: str) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        admin = await self._admin()
        [described] = await admin.describe_topics([topic])
        if not described["partitions"]:
            return []
        reader = AIOKafkaConsumer(
            topic, bootstrap_servers=self.servers, enable_auto_commit=False, auto_offset_reset="earliest"
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
        """Another member comes, and with it a rebalance."""
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
        async with self._making:
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


async def all_hold(servers: str, rows: Sequence[R], hold: Callable[[Backend, R], Awaitable[None]]) -> None:
    """Try all rows on a real Kafka, several at once, for most of their time is waiting for joins.

    Raises:
        ExceptionGroup: some do not hold; each error has its row's name in a note.
    """
    backend, places, wrong = RealBackend(servers), asyncio.Semaphore(AT_ONCE), list[Exception]()

    async def try_row(row: R) -> None:
        async with places:
            try:
                await hold(backend, row)
            except Exception as error:  # whatever it is, the other rows are tried
                error.add_note(f"row: {row.name}")
                wrong.append(error)

    try:
        await asyncio.gather(*map(try_row, rows))
    finally:
        await backend.close()
    if wrong:
        raise ExceptionGroup(f"{len(wrong)} of {len(rows)} rows are otherwise on a real Kafka", wrong)


@contextlib.contextmanager
def stopping_app() -> Any:
    """The app in here ends by a record's verdict, which is raised at the exit."""
    caught: list[StopApp] = []
    try:
        yield caught
    except StopApp as error:
        caught.append(error)


__all__ = ["Backend", "KafkaError", "MemoryBackend", "RealBackend", "all_hold", "stopping_app"]


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    if request.param == "memory":
        memory = MemoryBackend()
        async with memory.kafka:
            yield memory
    else:
        real = RealBackend(request.getfixturevalue("kafka_broker").bootstrap_servers)
        yield real
        await real.close()


@pytest.fixture
async def kafka(kafka_broker: KafkaBroker) -> AsyncIterator[RealBackend]:
    backend = RealBackend(kafka_broker.bootstrap_servers)
    yield backend
    await backend.close()


async def committed_is(backend: Backend, config: dict[str, Any], topic: str, offset: int, partition: int = 0) -> None:
    async def reached() -> bool:
        found = await backend.committed(config, topic, partition)
        assert found == offset
        return True

    await backend.until(reached)
