"""Records that the client cannot read, with a limit of attempts: the dead letter has their address and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from evkafka import EVKafkaApp, Handler, Request
from evkafka.config import producer_settings
from evkafka.dlq import DeadLetterFilter, DeadLetterTopic, Target, drop_dead_letters, replay_dead_letters
from evkafka.exceptions import StopApp
from evkafka.telemetry import ConsumerLost, PartitionBlocked, RecordsProcessed
from evkafka.testing import InMemoryKafka
from tests.support.backends import RealBackend, committed_is
from tests.support.kafka_topics import read
from tests.support.proxy import FETCH, Proxy, proxy

__all__ = ["proxy"]

TO_DLQ = {"max_attempts": 3, "then": "dead_letter"}


def app_of(seen: list[int], **config: Any) -> EVKafkaApp:
    handler, app = Handler(), EVKafkaApp()

    @handler.event("E")
    async def on_event(value: bytes, request: Request) -> None:
        seen.append(request.offset)

    base = {"topics": ["orders"], "group_id": "g", "auto_offset_reset": "earliest", "on_error": TO_DLQ}
    app.add_consumer({**base, **config}, handler)  # type: ignore[typeddict-item]
    return app


async def five(kafka: InMemoryKafka, *unreadable: int, partition: int = 0) -> None:
    for number in range(5):
        await kafka.send("orders", b"%d" % number, event_type="E", partition=partition)
    for offset in unreadable:
        kafka.make_unreadable("orders", partition, offset=offset)


class TestInMemory:
    async def test_a_dead_letter_has_the_address_and_later_records_are_handled(self) -> None:
        seen: list[int] = []
        app, ended, lost = app_of(seen), list[RecordsProcessed](), list[ConsumerLost]()
        app.telemetry.listen(RecordsProcessed, ended.append)
        app.telemetry.listen(ConsumerLost, lost.append)
        async with InMemoryKafka(seed=1) as kafka:
            await five(kafka, 2)
            async with kafka.running(app):
                await kafka.settle()
            kafka.assert_committed(group="g", topic="orders", offset=5)
        assert seen == [0, 1, 3, 4]
        assert not lost
        [letter] = kafka.records("orders.g.dlq")
        assert (letter.key, letter.value) == (None, None)
        told = dict(letter.headers)
        assert told["evkafka-dlq-unreadable"] == b"2-2"
        assert told["evkafka-dlq-id"] == b"g/memory/orders:topic-0/0/2"
        assert told["evkafka-dlq-error-message"] == b"a bad checksum"
        assert [pair for one in ended for pair in one.durations_s if pair[1] != "ok"] == [("", "dead_lettered")]

    async def test_the_dead_letter_is_confirmed_before_the_offset_is_committed(self) -> None:
        seen: list[int] = []
        async with InMemoryKafka(seed=1) as kafka:
            await five(kafka, 2)
            kafka.fail_sends("refused", "refused", topic="orders.g.dlq")
            async with kafka.running(app_of(seen, auto_commit_interval_ms=50)):
                await kafka.advance(ms=400)
                kafka.assert_committed(group="g", topic="orders", offset=2)
                await kafka.settle()
                kafka.assert_committed(group="g", topic="orders", offset=5)
        assert seen == [0, 1, 3, 4]
        assert len(kafka.records("orders.g.dlq")) == 1

    async def test_the_next_owner_handles_it_if_its_dead_letter_is_not_written(self) -> None:
        seen: list[int] = []
        async with InMemoryKafka(seed=1) as kafka:
            await five(kafka, 2)
            kafka.fail_sends(*["refused"] * 8, topic="orders.g.dlq")
            async with kafka.running(app_of(seen, auto_commit_interval_ms=50)):
                await kafka.advance(ms=400)
                await kafka.rebalance("g")
                await kafka.settle()
                kafka.assert_committed(group="g", topic="orders", offset=5)
        assert sorted(set(seen)) == [0, 1, 3, 4]
        assert len(kafka.records("orders.g.dlq")) == 1

    async def test_a_cancellation_from_outside_does_not_end_the_write(self) -> None:
        seen: list[int] = []
        async with InMemoryKafka(seed=1) as kafka:
            await five(kafka, 2)
            kafka.fail_sends(*["refused"] * 2, topic="orders.g.dlq")
            async with kafka.running(app_of(seen, auto_commit_interval_ms=50)):
                await kafka.advance(ms=400)
                [task] = [task for task in asyncio.all_tasks() if task.get_name().endswith("-unreadable")]
                task.cancel()
                await kafka.settle()
                kafka.assert_committed(group="g", topic="orders", offset=5)
        assert seen == [0, 1, 3, 4]
        assert len(kafka.records("orders.g.dlq")) == 1

    async def test_a_client_that_can_read_nothing_is_stopped_by_the_dead_letter_limit(self) -> None:
        seen: list[int] = []
        policy = {**TO_DLQ, "dead_letter_limit": {"consecutive": 2}}
        async with InMemoryKafka(seed=1) as kafka:
            await five(kafka, 0, 1, 2, 3, 4)
            with pytest.raises(
                StopApp, match=r"orders\[0\]@2 stops the app and stays uncommitted: 2 .* \(`dead_letter_limit`"
            ):
                await run(kafka, app_of(seen, on_error=policy))
            assert len(kafka.records("orders.g.dlq")) == 2
            with pytest.raises(StopApp, match="the `dead_letter_limit` was reached"):
                await run(kafka, app_of(seen, on_error=policy))
            assert len(kafka.records("orders.g.dlq")) == 2

    @pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
    async def test_other_partitions_are_read_in_the_meantime(self, ordering: str) -> None:
        seen: list[int] = []
        async with InMemoryKafka(seed=1, partitions=2) as kafka:
            await five(kafka, 0)
            await five(kafka, partition=1)
            kafka.fail_sends(*["refused"] * 5, topic="orders.g.dlq")
            async with kafka.running(app_of(seen, concurrency=8, ordering=ordering)):
                await kafka.advance(ms=400)
                assert seen == [0, 1, 2, 3, 4]
                await kafka.settle()
        assert seen == [0, 1, 2, 3, 4, 1, 2, 3, 4]

    async def test_skip_skips_it_stop_ends_the_app_and_without_a_limit_its_partition_waits(self) -> None:
        async with InMemoryKafka(seed=1) as kafka:
            await five(kafka, 2)
            seen: list[int] = []
            app, blocked = app_of(seen, on_error={}, group_id="waits"), list[PartitionBlocked]()
            app.telemetry.listen(PartitionBlocked, blocked.append)
            async with kafka.running(app):
                await kafka.advance(ms=20_000)
                assert app.status().consumers[0].partitions[0].held
            assert seen == [0, 1]
            assert not blocked[0].skipped
            with pytest.raises(StopApp, match=r"orders\[0\]@2 cannot be read, and `then` is 'stop'"):
                await run(kafka, app_of([], on_error={"max_attempts": 1}, group_id="stops"))
            await run(kafka, app_of(seen, on_error={"max_attempts": 1, "then": "skip"}, group_id="skips"))
            assert seen == [0, 1, 0, 1, 3, 4]

    async def test_in_a_retry_topic_it_joins_the_dead_letters_of_the_source(self) -> None:
        async with InMemoryKafka(seed=1) as kafka:
            await kafka.send("orders.g.retry.1000", b"{}", event_type="E")
            kafka.make_unreadable("orders.g.retry.1000", offset=0)
            await run(kafka, app_of([], on_error={**TO_DLQ, "retry_topics": [1_000]}))
            [letter] = kafka.records("orders.g.dlq")
        assert letter.header("evkafka-dlq-id") == b"g/memory/orders.g.retry.1000:topic-0/0/0"


async def run(kafka: InMemoryKafka, app: EVKafkaApp) -> None:
    async with kafka.running(app):
        await kafka.settle()


@pytest.mark.kafka
class TestOnKafka:
    async def test_a_record_corrupted_in_transit_becomes_a_dead_letter_that_no_replay_accepts(
        self, kafka: RealBackend, proxy: Proxy
    ) -> None:
        topic, seen = await kafka.topic(), list[int]()
        config = {**kafka.config(topic), "bootstrap_servers": proxy.bootstrap_servers, "on_error": TO_DLQ}
        async with AIOKafkaProducer(bootstrap_servers=kafka.servers) as producer:
            for value in (b"0", b"1", b"poison", b"3"):
                await producer.send_and_wait(topic, value, headers=[("Event-Type", b"E")])
        proxy.rewrite(FETCH, lambda frame: frame.replace(b"poison", b"POISON"))
        app = app_of(seen, **config)
        async with kafka.running(app):
            await committed_is(kafka, config, topic, 4)
        assert seen == [0, 1, 3]
        dead = f"{topic}.{config['group_id']}.dlq"
        [letter] = await read(kafka.servers, dead, 0)
        assert (letter.key, letter.value, dict(letter.headers)["evkafka-dlq-unreadable"]) == (None, None, b"2-2")

        dead_letters = DeadLetterTopic(producer_settings({"bootstrap_servers": kafka.servers}).connection, dead)
        report = await replay_dead_letters(dead_letters, Target(), DeadLetterFilter())
        assert (report.chosen, report.done, len(report.failed)) == (1, 0, 1)
        assert "nothing to replay" in report.failed[0].reason
        assert (await drop_dead_letters(dead_letters, DeadLetterFilter())).done == 1
