"""Replay and drop on a real Kafka: which dead letters are open, and which records are sent."""

from __future__ import annotations

import asyncio
import struct

import pytest

from evkafka.config import producer_settings
from evkafka.dlq import (
    DeadLetterFilter,
    DeadLetterRecord,
    DeadLetterTopic,
    TakenOver,
    Target,
    drop_dead_letters,
    replay_dead_letters,
)
from evkafka.exceptions import ConfigError
from evkafka.kafka.producer.transactional_writer import TransactionalWriter
from evkafka.runtime.ports import OutgoingRecord
from tests.support.backends import RealBackend
from tests.support.dead_letters import ALL, Given
from tests.support.kafka_topics import MakeTopic


class TestReplayingToATopic:
    async def test_sends_each_open_letter_once_and_closes_it(self, given: Given) -> None:
        for offset in range(3):
            await given.write(offset, partition=1)
        seen: list[tuple[int, int]] = []
        report = await replay_dead_letters(given.dead_letters, Target(), ALL, progress=lambda *at: seen.append(at))
        assert (report.chosen, report.done, report.failed, seen[-1]) == (3, 3, [], (3, 3))
        assert await given.open() == []
        again = await replay_dead_letters(given.dead_letters, Target(), ALL)
        assert (again.chosen, again.done) == (0, 0)
        assert [record.value for record in await given.sent(1)] == [b"value 0", b"value 1", b"value 2"]

    async def test_sends_key_value_and_headers_unchanged_with_id_and_replay_count(self, given: Given) -> None:
        await given.write(5, partition=1)
        await replay_dead_letters(given.dead_letters, Target(), ALL)
        [record] = await given.sent(1)
        assert (record.key, record.value) == (b"k5", b"value 5")
        [*headers, signature] = record.headers
        assert signature[0] == "evkafka-dlq-signature"
        assert headers == [
            ("Event-Type", b"E"),
            ("x", b"\xff"),
            ("x", None),
            ("evkafka-dlq-topic", given.source.encode()),
            ("evkafka-dlq-partition", b"1"),
            ("evkafka-dlq-offset", b"5"),
            ("evkafka-dlq-group", b"g"),
            ("evkafka-dlq-id", f"g/{given.source}/1/5".encode()),
            ("evkafka-dlq-replays", b"1"),
        ]

    async def test_a_record_that_fails_again_is_a_new_open_dead_letter(self, given: Given) -> None:
        await given.write(5)
        await replay_dead_letters(given.dead_letters, Target(), ALL)
        await given.write(5, replays=1)
        assert await given.open() == [5]
        report = await replay_dead_letters(given.dead_letters, Target(), ALL)
        assert report.done == 1
        assert [dict(record.headers)["evkafka-dlq-replays"] for record in await given.sent()] == [b"1", b"2"]

    async def test_two_dead_letters_of_one_record_are_replayed_separately(self, given: Given) -> None:
        await given.write(5)
        await given.write(5)
        report = await replay_dead_letters(given.dead_letters, Target(), ALL, limit=1)
        assert report.done == 1
        assert await given.open() == [5]
        assert len(await given.sent()) == 1

    async def test_a_limit_leaves_the_rest_open(self, given: Given) -> None:
        for offset in range(5):
            await given.write(offset)
        await replay_dead_letters(given.dead_letters, Target(), ALL, limit=2, rate=1000)
        assert await given.open() == [2, 3, 4]

    async def test_a_compacted_topic_needs_force(self, given: Given, topic: MakeTopic) -> None:
        compacted = await topic(config={"cleanup.policy": "compact"})
        await given.write(1)
        with pytest.raises(ConfigError, match=f"'{compacted}' is compacted.*--force"):
            await replay_dead_letters(given.dead_letters, Target(compacted), ALL)
        assert await given.open() == [1]
        report = await replay_dead_letters(given.dead_letters, Target(compacted), ALL, force=True)
        assert report.done == 1

    async def test_a_missing_target_topic_is_an_error_before_anything_is_sent(self, given: Given) -> None:
        await given.write(1)
        with pytest.raises(ConfigError, match="topic 'nowhere' does not exist"):
            await replay_dead_letters(given.dead_letters, Target("nowhere"), ALL)
        assert await given.open() == [1]


class TestHandling:
    async def test_success_closes_a_dead_letter_and_failure_leaves_it_open(self, given: Given) -> None:
        for offset in range(3):
            await given.write(offset)

        async def handle(dead_letter: DeadLetterRecord) -> str | None:
            assert dead_letter.record.value == b"value %d" % (dead_letter.offset or 0)
            return "still broken" if dead_letter.offset == 1 else None

        report = await replay_dead_letters(given.dead_letters, handle, ALL)
        assert (report.done, [(one.dead_letter.offset, one.reason) for one in report.failed]) == (
            2,
            [(1, "still broken")],
        )
        assert await given.open() == [1]
        assert await given.sent() == []

    async def test_a_second_replay_ends_the_first(self, given: Given) -> None:
        await given.write(0)
        await given.write(1)
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(dead_letter: DeadLetterRecord) -> str | None:
            reached.set()
            await go_on.wait()
            return None

        first = asyncio.ensure_future(replay_dead_letters(given.dead_letters, slowly, ALL))
        await reached.wait()
        second = await replay_dead_letters(given.dead_letters, Target(), ALL)
        go_on.set()
        with pytest.raises(TakenOver, match="another replay"):
            await first
        assert second.done == 2
        assert len(await given.sent()) == 2


class TestDropping:
    async def test_closes_without_sending(self, given: Given) -> None:
        await given.write(0)
        await given.write(1, event_type="F")
        report = await drop_dead_letters(given.dead_letters, DeadLetterFilter(event_types=["F"]))
        assert report.done == 1
        assert await given.open() == [0]
        assert [status async for _, status in given.dead_letters.read(ALL, closed=True)] == ["open", "dropped"]
        assert await given.sent() == []


class TestAMissingTopic:
    async def test_is_an_error_that_names_it(self, kafka: RealBackend) -> None:
        dead_letters = DeadLetterTopic(
            producer_settings({"bootstrap_servers": kafka.servers}).connection, "nowhere.g.dlq"
        )
        with pytest.raises(ConfigError, match=r"topic 'nowhere\.g\.dlq' does not exist"):
            [dead_letter async for dead_letter in dead_letters.read(ALL)]


class TestUnusualDeadLetters:
    async def test_without_key_and_value_are_sent_unchanged(self, given: Given) -> None:
        async with TransactionalWriter(given.connection, "by-the-test") as transactions:
            origin = [("evkafka-dlq-topic", given.source.encode()), ("evkafka-dlq-partition", b"1")]
            await transactions.write_records_in_one_transaction(
                [OutgoingRecord(given.dead, None, partition=0, headers=origin)]
            )
        report = await replay_dead_letters(given.dead_letters, Target(), ALL)
        [record] = await given.sent(1)
        assert (report.done, record.key, record.value) == (1, None, None)
        assert dict(record.headers)["evkafka-dlq-id"] == f"{given.dead}/0/0".encode()

    async def test_in_spring_style_are_sent_to_their_source_topic(self, given: Given) -> None:
        story = [
            ("kafka_dlt-original-topic", given.source.encode()),
            ("kafka_dlt-original-partition", struct.pack(">i", 1)),
            ("kafka_dlt-original-offset", struct.pack(">q", 41)),
            ("kafka_dlt-exception-fqcn", b"java.lang.IllegalStateException"),
        ]
        await given.kafka.send(given.dead, b"v", "E", key=b"k", headers=story)
        [(dead_letter, _)] = [one async for one in given.dead_letters.read(DeadLetterFilter(error="IllegalState*"))]
        assert (dead_letter.topic, dead_letter.partition, dead_letter.offset) == (given.source, 1, 41)
        await replay_dead_letters(given.dead_letters, Target(), ALL)
        [record] = await given.sent(1)
        assert [name for name, _ in record.headers if name.startswith("kafka_dlt-exception")] == []

    async def test_without_a_source_topic_need_a_target_topic(self, given: Given) -> None:
        await given.kafka.send(given.dead, b"v", "E", key=b"k")
        [failure] = (await replay_dead_letters(given.dead_letters, Target(), ALL)).failed
        assert "give one with --to-topic TOPIC" in failure.reason
