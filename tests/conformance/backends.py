"""The two backends of the suite: the in-memory Kafka and a real one, behind the same few calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from evkafka import EVKafkaApp
from evkafka.runtime.settle import StopApp
from evkafka.testing import InMemoryKafka
from tests.support.waiting import eventually

T = TypeVar("T")
Headers = Sequence[tuple[str, bytes | None]]


class Backend(Protocol):
    """What a conformance test does to a Kafka."""

    real: bool

    async def topic(self, partitions: int = 1) -> str: ...
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

    async def topic(self, partitions: int = 1) -> str:
        name = f"t-{uuid.uuid4().hex[:8]}"
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
    real = True

    def __init__(self, bootstrap_servers: str) -> None:
        self.servers = bootstrap_servers
        self._members: list[EVKafkaApp] = []

    async def topic(self, partitions: int = 1) -> str:
        name = f"t-{uuid.uuid4().hex[:12]}"
        async with self._admin() as admin:
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
        typed = [("Event-Type", event_type.encode())] if event_type is not None else []
        async with AIOKafkaProducer(bootstrap_servers=self.servers) as producer:
            await producer.send_and_wait(
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

    async def committed(self, config: dict[str, Any], topic: str, partition: int = 0) -> int | None:
        async with self._admin() as admin:
            try:
                offsets = await admin.list_consumer_group_offsets(config["group_id"])
            except GroupCoordinatorNotAvailableError:  # it is in the making
                return None
        found = offsets.get(TopicPartition(topic, partition))
        return found.offset if found is not None and found.offset >= 0 else None

    async def values(self, topic: str) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.servers, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        async with consumer:
            partitions = [
                TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            if not partitions:
                await consumer._client.force_metadata_update()
                async with self._admin() as admin:
                    [described] = await admin.describe_topics([topic])
                partitions = [TopicPartition(topic, p["partition"]) for p in described["partitions"]]
            if not partitions:
                return []
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found = []
            while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [(record.value, dict(record.headers)) for record in records]
            return found

    async def rebalance(self, app: EVKafkaApp, config: dict[str, Any]) -> None:
        """Another member comes, and with it a rebalance."""
        consumer = AIOKafkaConsumer(
            *config["topics"], bootstrap_servers=self.servers, group_id=config["group_id"], enable_auto_commit=False
        )
        self._joining = asyncio.ensure_future(consumer.start())
        self._joined = consumer

    async def until(self, predicate: Callable[[], T | Awaitable[T]]) -> T:
        return await eventually(predicate, 30)

    async def close(self) -> None:
        joined = getattr(self, "_joined", None)
        if joined is not None:
            await self._joining
            await joined.stop()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


@contextlib.contextmanager
def stopping_app() -> Any:
    """The app in here ends by a record's verdict, which is raised at the exit."""
    caught: list[StopApp] = []
    try:
        yield caught
    except StopApp as error:
        caught.append(error)


__all__ = ["Backend", "KafkaError", "MemoryBackend", "RealBackend", "stopping_app"]
