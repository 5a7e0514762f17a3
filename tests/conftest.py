"""Fixtures of the whole suite. Whoever asks for `kafka_broker` or `topic` is marked `kafka` by itself."""

from __future__ import annotations

import asyncio
import gc
import sys
import uuid
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from evkafka.broker import KafkaBroker
from evkafka.broker.maven import cache_dir
from tests.support import prerequisites
from tests.support.kafka_topics import MakeTopic, admin_of, create_topic
from tests.support.waiting import eventually

KAFKA_CACHE = cache_dir()  # before `pytester` changes HOME


QUICK_GROUPS = {
    "group.consumer.min.heartbeat.interval.ms": 200,
    "group.consumer.heartbeat.interval.ms": 200,
    "group.consumer.min.session.timeout.ms": 6_000,
    "group.consumer.session.timeout.ms": 6_000,
}
"""With the consumer protocol the brokers set these times. A member learns from its next heartbeat what it is to do."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Garbage collections would examine thousands of new tests again and again, and find none to delete."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(
            f"in another process these tests have other names, for `ids` tells an address: {addresses}"
        )
    for item in items:
        if "kafka_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Each process of a parallel run comes here with the same tests, before any of them begins."""
    if session.config.option.collectonly:
        return
    gc.collect()
    gc.freeze()  # thousands of collected tests would be examined by each full collection: a seventh of the time
    capture = session.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, file=sys.stderr, flush=True)

    prerequisites.build(session.items, say)


BROKER_PROPERTIES = {
    "auto.create.topics.enable": False,
    # With the consumer protocol the brokers set the times of a group. By default a member hears of a change after up to
    # five seconds.
    "group.consumer.min.heartbeat.interval.ms": 100,
    "group.consumer.heartbeat.interval.ms": 100,
    "group.consumer.min.session.timeout.ms": 1_000,
    "group.consumer.session.timeout.ms": 10_000,
}


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker]:
    """A real Apache Kafka, started once per run. Topics are to be created.

    Do not stop or restart it: make a `KafkaBroker` of your own.
    """
    with KafkaBroker(properties=BROKER_PROPERTIES) as broker:
        with ThreadPoolExecutor() as elsewhere:  # a loop may be running here
            elsewhere.submit(asyncio.run, _group_coordinator(broker.bootstrap_servers)).result()
        yield broker


async def _group_coordinator(servers: str) -> None:
    """The first look for a coordinator makes the broker create the topic of its offsets, and is refused until then."""
    async with admin_of(servers) as admin:

        async def found() -> bool:
            try:
                return await admin.find_coordinator("any") is not None
            except GroupCoordinatorNotAvailableError:
                return False

        await eventually(found, what="the group coordinator")


@pytest.fixture
def kafka_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Kafka that is started by a test of `pytester`, which has a HOME of its own, uses the jars of this user."""
    monkeypatch.setenv("EVKAFKA_CACHE_DIR", str(KAFKA_CACHE))


@pytest.fixture
def topic(kafka_broker: KafkaBroker) -> MakeTopic:
    """Makes topics that nobody else has: `name = await topic(partitions=3, config={"max.message.bytes": 2000})`.

    `prefix` begins the name, `name` is all of it, `brokers` names another cluster than the shared one.
    """

    async def make(
        partitions: int = 1,
        *,
        config: Mapping[str, object] | None = None,
        prefix: str = "t",
        name: str = "",
        brokers: str = kafka_broker.bootstrap_servers,
    ) -> str:
        name = name or f"{prefix}-{uuid.uuid4().hex[:12]}"
        async with admin_of(brokers) as admin:
            await create_topic(admin, name, partitions, config)
        return name

    return make
