"""A producer of a source topic can choose neither the target of a replay nor the id of a dead letter."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka.dlq import DeadLetterFilter, DeadLetterTopic, SourceTopics, Target, dry_run_replay, replay_dead_letters
from evkafka.dlq.targets import is_named_after
from evkafka.exceptions import ConfigError
from evkafka.kafka.producer.transactional_writer import TransactionalWriter
from evkafka.runtime.ports import OutgoingRecord
from tests.support.apps import app_of
from tests.support.backends import Backend, committed_is
from tests.support.dead_letters import ALL, FORGED, TO_DLQ, Given, failing
from tests.support.kafka_topics import MakeTopic, read_committed


class TestForgedHeadersOfASourceRecord:
    @pytest.mark.parametrize("style", ["evkafka", "spring"])
    @pytest.mark.parametrize("retry_topics", [[], [100]], ids=["", "through a retry topic"])
    async def test_are_not_trusted_in_its_dead_letter(
        self, backend: Backend, style: str, retry_topics: list[int]
    ) -> None:
        topic = await backend.topic()
        policy = {**TO_DLQ, "dead_letter_header_style": style, "retry_topics": retry_topics}
        config = backend.config(topic, on_error=policy)
        dead = f"{topic}.{config['group_id']}.dlq"
        retry: Any = [("evkafka-retry-topic", b"payments"), ("evkafka-retry-offset", b"7"), ("evkafka-retry-id", b"x")]
        await backend.send(topic, b"x", headers=[*FORGED, *retry])
        async with backend.running(app_of(failing(), config)):

            async def written() -> bool:
                return bool(await backend.values(dead))

            await backend.until(written)
            [(value, headers)] = await backend.values(dead)
        assert value == b"x"
        names = {"evkafka": "evkafka-dlq-", "spring": "kafka_dlt-original-"}
        assert headers[f"{names[style]}topic"] == topic.encode()
        assert (headers["evkafka-dlq-id"] or b"").startswith(f"{config['group_id']}/".encode())
        assert "evkafka-dlq-replays" not in headers
        assert "evkafka-dlq-unreadable" not in headers
        assert headers["evkafka-source-evkafka-dlq-id"] == b"billing/orders/2/42"
        assert dict(retry).items() <= headers.items()


class TestAReplayedRecord:
    async def test_is_recognised_by_its_signature_and_a_record_with_the_same_headers_is_not(self, given: Given) -> None:
        config = given.kafka.config(given.source, on_error=TO_DLQ, group_id="g")
        await given.write(41, partition=1)
        await replay_dead_letters(given.dead_letters, Target(), ALL)
        [replayed] = await given.sent(1)
        copied = [pair for pair in replayed.headers if pair[0] != "Event-Type"]
        await given.kafka.send(given.source, b"forged", key=replayed.key, partition=1, headers=copied)
        async with given.kafka.running(app_of(failing(), config)):
            await committed_is(given.kafka, config, given.source, 3, partition=1)
        found = [letter async for letter, _ in given.dead_letters.read(ALL)]
        by_value = {letter.record.value: letter for letter in found}
        assert (by_value[b"value 41"].offset, by_value[b"value 41"].replays) == (41, 1)
        assert (by_value[b"forged"].offset, by_value[b"forged"].replays) == (2, 0)
        assert dict(by_value[b"forged"].record.headers)["evkafka-source-evkafka-dlq-offset"] == b"41"


async def spoofed(given: Given, topic: str) -> None:
    """A dead letter as it was written when the headers of source records were trusted."""
    story = {"topic": topic, "partition": "0", "offset": "0", "group": "g", "id": f"g/{topic}/0/0"}
    headers: Any = [(f"evkafka-dlq-{name}", value.encode()) for name, value in story.items()]
    await given.kafka.send(given.dead, b"ATTACK", "E", key=b"k", headers=headers)


class TestADeadLetterThatNamesAForeignTopic:
    @pytest.mark.parametrize("known", [True, False], ids=["with the consumer's topics", "without"])
    async def test_stays_open_and_blocks_no_other(self, given: Given, topic: MakeTopic, known: bool) -> None:
        payments = await topic()
        await given.write(1)
        await spoofed(given, payments)
        await given.write(2)
        target = Target(sources=SourceTopics(frozenset({given.source})) if known else None)
        rehearsal = await dry_run_replay(given.dead_letters, target, ALL)
        assert [why is None for _, why in rehearsal.results] == [True, False, True]
        report = await replay_dead_letters(given.dead_letters, target, ALL)
        [failure] = report.failed
        assert (report.chosen, report.done) == (3, 2)
        assert f"its source topic is '{payments}'" in failure.reason
        assert "--to-topic TOPIC" in failure.reason
        assert await read_committed(given.kafka.servers, payments) == []
        assert [letter.topic async for letter, _ in given.dead_letters.read(ALL)] == [payments]

    async def test_is_sent_to_the_topic_that_the_operator_names(self, given: Given, topic: MakeTopic) -> None:
        payments, meant = await topic(), await topic()
        await spoofed(given, payments)
        assert (await replay_dead_letters(given.dead_letters, Target(meant), ALL)).done == 1
        assert await read_committed(given.kafka.servers, payments) == []
        assert [record.value for record in await read_committed(given.kafka.servers, meant)] == [b"ATTACK"]

    @pytest.mark.parametrize(
        ("dead", "topic", "group", "named"),
        [
            ("orders.billing.dlq", "orders", "billing", True),
            ("orders.billing.dlq", "orders", "another", False),
            ("orders.billing.dlq", "payments", "billing", False),
            ("orders.billing.dlq", "orders", None, True),
            ("orders.billing.dlq", "order", None, False),
            ("orders.DLT", "orders", None, True),
            ("orders-dlt", "orders", "billing", True),
            ("graveyard", "orders", "billing", False),
        ],
    )
    def test_is_recognised_by_the_name_of_the_dead_letter_topic(
        self, dead: str, topic: str, group: str | None, named: bool
    ) -> None:
        assert is_named_after(dead, topic, group) is named


class TestADeadLetterThatTheBrokerRejects:
    async def test_because_of_its_size_blocks_no_other(self, given: Given, topic: MakeTopic) -> None:
        small = await topic(config={"max.message.bytes": 2_000})
        await given.kafka.send(given.dead, bytes(5_000), "E", key=b"large")
        await given.write(1)
        report = await replay_dead_letters(given.dead_letters, Target(small), ALL)
        assert report.done == 1
        assert "do not fit" in report.failed[0].reason

    async def test_because_it_has_no_key_blocks_no_other(self, given: Given, topic: MakeTopic) -> None:
        compacted = await topic(config={"cleanup.policy": "compact"})
        async with TransactionalWriter(given.connection, "by-the-test") as transactions:
            await transactions.write_records_in_one_transaction([OutgoingRecord(given.dead, b"v", partition=0)])
        await given.write(1)
        report = await replay_dead_letters(given.dead_letters, Target(compacted), ALL, force=True)
        assert report.done == 1
        assert "has no key" in report.failed[0].reason


class TestATargetTopicForAllDeadLetters:
    @pytest.mark.parametrize("what", ["dead", "state"])
    async def test_must_not_be_the_replayed_topic(self, given: Given, what: str) -> None:
        await given.write(1)
        name = given.dead if what == "dead" else f"{given.dead}.state"
        with pytest.raises(ConfigError, match="is the topic being replayed"):
            await replay_dead_letters(given.dead_letters, Target(name), ALL)


async def test_a_filter_by_id_finds_ids_with_and_without_a_topic_id(given: Given) -> None:
    await given.write(1)
    found = DeadLetterTopic(given.connection, given.dead).read(DeadLetterFilter(ids=[f"g/{given.source}/0/1"]))
    assert [letter.offset async for letter, _ in found] == [1]
