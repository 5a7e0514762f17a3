"""A mark closes the dead letter at its address, and an id identifies the record in the incarnation of its topic."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from evkafka import EVKafkaApp
from evkafka.config import producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.dlq import (
    DeadLetterFilter,
    DeadLetterPosition,
    DeadLetterRecord,
    DeadLetterTopic,
    Target,
    drop_dead_letters,
    replay_dead_letters,
)
from evkafka.dlq.state_topic import ReplayMark, ReplayState, create_closing_mark, parse_mark
from evkafka.kafka.admin.topic_ids import look_up_topic_ids
from evkafka.kafka.producer.transactional_writer import TransactionalWriter
from evkafka.runtime.ports import OutgoingRecord
from tests.support.apps import app_of
from tests.support.backends import Backend, RealBackend, committed_is
from tests.support.dead_letters import ALL, TO_DLQ, Given, Source, failing
from tests.support.waiting import eventually


@dataclass
class Shop:
    """An app that fails on every record, and its dead-letter topic."""

    kafka: RealBackend
    topic: str
    config: dict[str, Any]
    dead_letters: DeadLetterTopic
    connection: ConnectionSettings
    app: EVKafkaApp

    async def letters(self, number: int) -> list[DeadLetterRecord]:
        """All dead letters, once there are so many."""

        async def there() -> bool:
            return len(await read_all(self.dead_letters)) == number

        await eventually(there)
        return await read_all(self.dead_letters)

    async def open(self) -> list[int]:
        return [letter.record.offset async for letter, _ in self.dead_letters.read(ALL)]


async def read_all(dead_letters: DeadLetterTopic) -> list[DeadLetterRecord]:
    return [letter async for letter, _ in dead_letters.read(ALL, closed=True)]


@pytest.fixture
async def shop(kafka: RealBackend) -> AsyncIterator[Shop]:
    topic = await kafka.topic()
    config = kafka.config(topic, on_error=TO_DLQ, metadata_max_age_ms=500)
    connection = producer_settings({"bootstrap_servers": kafka.servers}).connection
    app = app_of(failing(), config)
    async with kafka.running(app):
        await kafka.send(topic, b"first")
        await committed_is(kafka, config, topic, 1)
        yield Shop(
            kafka, topic, config, DeadLetterTopic(connection, f"{topic}.{config['group_id']}.dlq"), connection, app
        )


async def make_again(shop: Shop) -> None:
    """Delete the topic and create it again while the app runs."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.kafka.servers)
    await admin.start()
    before = (await look_up_topic_ids(shop.connection, [shop.topic])).topics[shop.topic]
    try:
        await admin.delete_topics([shop.topic])

        async def another() -> bool:
            await shop.kafka.topic(name=shop.topic)
            return (await look_up_topic_ids(shop.connection, [shop.topic])).topics.get(shop.topic, before) != before

        await eventually(another)
    finally:
        await admin.close()


class TestARecordThatFailsAgainAtTheSameAddress:
    async def test_is_an_open_dead_letter_although_the_first_was_dropped(self, shop: Shop) -> None:
        [first] = await shop.letters(1)
        await drop_dead_letters(shop.dead_letters, ALL)
        shop.app.consumer("consumer-1").seek(shop.topic, 0, 0)
        [_, second] = await shop.letters(2)
        assert second.id == first.id
        assert await shop.open() == [1]

    async def test_after_a_replay_has_the_same_id_and_counts_the_replay(self, shop: Shop) -> None:
        [first] = await shop.letters(1)
        assert (await replay_dead_letters(shop.dead_letters, Target(), ALL)).done == 1
        [_, second] = await shop.letters(2)
        assert (second.id, second.offset, second.replays) == (first.id, 0, 1)
        assert await shop.open() == [1]

    async def test_in_a_topic_that_was_created_again_has_another_id(self, shop: Shop) -> None:
        [first] = await shop.letters(1)
        await make_again(shop)
        await shop.kafka.send(shop.topic, b"another record")
        [_, second] = await shop.letters(2)
        assert (first.topic, first.partition, first.offset) == (second.topic, second.partition, second.offset)
        ids = await look_up_topic_ids(shop.connection, [shop.topic])
        group, topic = shop.config["group_id"], shop.topic
        assert second.id == f"{group}/{ids.cluster_id}/{topic}:{ids.topics[topic]}/0/0"
        assert first.id != second.id
        assert await shop.open() == [0, 1]


class TestAMark:
    async def test_closes_the_dead_letter_at_its_address_and_no_other_of_its_id(self, given: Given) -> None:
        for _ in range(3):
            await given.write(5)
        report = await drop_dead_letters(given.dead_letters, DeadLetterFilter(positions=[DeadLetterPosition(0, 1)]))
        assert (report.chosen, report.done) == (1, 1)
        assert [letter.record.offset async for letter, _ in given.dead_letters.read(ALL)] == [0, 2]

    def test_closes_nothing_in_a_dead_letter_topic_that_was_created_again(self) -> None:
        state, letter = ReplayState(), read_letter_at(3, timestamp=1_000)
        state.apply(Source(key=b"0@3", value=create_closing_mark(letter, "dropped").as_bytes()))
        assert state.status_of(letter) == "dropped"
        assert state.status_of(read_letter_at(3, timestamp=2_000)) == "open"
        assert state.status_of(read_letter_at(4, timestamp=1_000)) == "open"

    def test_is_removed_by_a_tombstone(self) -> None:
        state, letter = ReplayState(), read_letter_at(3, timestamp=1_000)
        state.apply(Source(key=b"0@3", value=create_closing_mark(letter, "dropped").as_bytes()))
        state.apply(Source(key=b"0@3", value=None))
        assert state.status_of(letter) == "open"

    @pytest.mark.parametrize(
        "value",
        [None, b"", b"no JSON", b"[]", b"{}", b'{"status": "lost", "at": "2026-01-01T00:00:00Z", "count": 1}', b"\xff"],
    )
    def test_that_is_invalid_closes_nothing(self, value: bytes | None) -> None:
        assert parse_mark("0@3", value) is None


def read_letter_at(offset: int, *, timestamp: int, replays: int = 0) -> DeadLetterRecord:
    from evkafka.dlq import read_dead_letter

    headers = [("evkafka-dlq-id", b"g/orders/0/5"), ("evkafka-dlq-topic", b"orders")]
    headers += [("evkafka-dlq-replays", b"%d" % replays)] if replays else []
    return read_dead_letter(Source("dead", 0, offset, timestamp=timestamp, headers=headers))  # type: ignore[arg-type]


class TestAMarkOfAnEarlierVersion:
    """It has an id and a count."""

    async def test_still_closes_its_dead_letters(self, given: Given) -> None:
        for offset in (5, 5, 6):
            await given.write(offset)
        await drop_dead_letters(given.dead_letters, DeadLetterFilter(ids=["nobody's"]))  # makes the state topic
        old = {"status": "replayed", "count": 1, "at": "2099-01-01T00:00:00+00:00"}
        async with TransactionalWriter(given.connection, "by-the-test") as transactions:
            key = f"g/{given.source}/0/5".encode()
            await transactions.write_records_in_one_transaction(
                [OutgoingRecord(f"{given.dead}.state", json.dumps(old).encode(), key, partition=0)]
            )
        assert await given.open() == [6]
        assert await statuses(given.dead_letters) == ["replayed", "replayed", "open"]

    def test_does_not_close_a_dead_letter_that_was_written_or_replayed_later(self) -> None:
        state = ReplayState()
        old = {"status": "replayed", "count": 2, "at": "1970-01-01T00:00:02+00:00"}
        state.apply(Source(key=b"g/orders/0/5", value=json.dumps(old).encode()))
        assert state.status_of(read_letter_at(0, timestamp=1_000)) == "replayed"
        assert state.status_of(read_letter_at(1, timestamp=1_000, replays=1)) == "replayed"
        assert state.status_of(read_letter_at(2, timestamp=1_000, replays=2)) == "open"
        assert state.status_of(read_letter_at(3, timestamp=3_000)) == "open"

    def test_is_read_as_it_was_written(self) -> None:
        value = b'{"status": "dropped", "count": 3, "at": "2026-11-23T12:00:00+00:00"}'
        mark = parse_mark("g/orders/0/5", value)
        assert mark is not None
        assert mark == ReplayMark("dropped", mark.at, "g/orders/0/5", count=3)


async def statuses(dead_letters: DeadLetterTopic) -> list[str]:
    return [status async for _, status in dead_letters.read(ALL, closed=True)]


class TestTheIdOfADeadLetter:
    async def test_contains_the_topic_id_on_both_kafkas(self, backend: Backend) -> None:
        topic = await backend.topic()
        config = backend.config(topic, on_error={**TO_DLQ, "retry_topics": [500]})
        await backend.send(topic, b"x")
        async with backend.running(app_of(failing(), config)):
            dead = f"{topic}.{config['group_id']}.dlq"

            async def written() -> bool:
                return bool(await backend.values(dead))

            await backend.until(written)
            [(_, headers)] = await backend.values(dead)
        group, cluster, named, partition, offset = (headers["evkafka-dlq-id"] or b"").decode().split("/")
        assert (group, partition, offset) == (config["group_id"], "0", "0")
        assert named.startswith(f"{topic}:")
        assert cluster
        assert named.removeprefix(f"{topic}:")

    async def test_has_no_topic_id_if_the_cluster_has_none(self, kafka: RealBackend) -> None:
        ids = await look_up_topic_ids(
            producer_settings({"bootstrap_servers": kafka.servers}).connection, ["there-is-no-such-topic"]
        )
        assert ids.cluster_id is not None
        assert ids.topics == {}


class TestTwoReplays:
    async def test_at_the_same_time_send_no_dead_letter_twice(self, given: Given) -> None:
        for offset in range(4):
            await given.write(offset)
        ended = await asyncio.gather(
            *(replay_dead_letters(given.dead_letters, Target(), ALL) for _ in range(3)), return_exceptions=True
        )
        assert any(not isinstance(one, BaseException) for one in ended)
        await replay_dead_letters(given.dead_letters, Target(), ALL)
        assert sorted(record.value for record in await given.sent()) == [b"value %d" % offset for offset in range(4)]
