"""A dead letter, or a record for a retry topic, that cannot be written waits in its lane and blocks nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from evkafka import EVKafkaApp, Handler
from evkafka.exceptions import BrokerUnavailable, StopApp
from evkafka.runtime.clock import sleep
from evkafka.runtime.ports import Clock
from evkafka.testing.memory.apps import ClusterView
from tests.support.backends import RealBackend
from tests.support.engine import GROUP, TOPIC, Bench
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

DLQ = f"{TOPIC}.{GROUP}.dlq"
TO_DLQ: dict[str, Any] = {"max_attempts": 1, "then": "dead_letter", "dead_letter_limit": None}
REFUSED = "DeliveryError"


class Begun:
    """An endpoint that fails for values that begin with "bad", and the values that it got."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.handler = Handler()

        @self.handler.event("E")
        async def on_e(value: bytes) -> None:
            self.values.append(value)
            if value.startswith(b"bad"):
                raise ValueError("poison")


class Unreachable:
    """A producer whose cluster does not answer."""

    START_S = 10

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def start(self) -> None:
        await sleep(self._clock, self.START_S)
        raise BrokerUnavailable("no answer in time")


class TestARecordThatCannotBeWritten:
    """In memory, where the topic rejects every write until the test ends that."""

    @pytest.mark.parametrize("policy", [TO_DLQ, {**TO_DLQ, "retry_topics": [1000]}], ids=["dead letter", "retry topic"])
    async def test_occupies_no_executor_and_blocks_only_its_lane(self, bench: Bench, policy: dict[str, Any]) -> None:
        begun = Begun()
        topic = f"{TOPIC}.{GROUP}.retry.1000" if "retry_topics" in policy else DLQ
        bench.kafka.fail_sends(*["refused"] * 1000, topic=topic)
        await bench.send(b"bad", b"behind")
        async with bench.running(begun.handler, on_error=policy):
            await bench.until(lambda: bench.consumer.status().partitions[0].unwritten)
            await bench.send(b"good", b"better", partition=1)

            await bench.until(lambda: bench.committed(1) == 2)
            assert begun.values == [b"bad", b"good", b"better"]
            assert bench.consumer.in_flight == 0
            assert bench.committed(0) in (None, 0)

    async def test_is_shown_by_status_health_and_metric(self, bench: Bench) -> None:
        begun = Begun()
        bench.kafka.fail_sends(*["refused"] * 1000, topic=DLQ)
        await bench.send(b"bad")
        async with bench.running(begun.handler, on_error=TO_DLQ):
            await bench.until(lambda: bench.consumer.status().partitions[0].unwritten)
            [unwritten] = bench.consumer.status().partitions[0].unwritten
            assert (unwritten.offset, unwritten.topic, unwritten.tries) == (0, DLQ, 1)
            assert REFUSED in unwritten.error
            [note] = [note for one in bench.app.health.ready(bench.app.status()).checks for note in one.notes]
            assert note.startswith(f"t[0]@0 could not be written to {DLQ} for ")
            assert REFUSED in note

    async def test_is_written_when_possible_and_its_lane_continues(self, bench: Bench) -> None:
        begun = Begun()
        bench.kafka.fail_sends(*["refused"] * 4, topic=DLQ)
        await bench.send(b"bad", b"behind")
        async with bench.running(begun.handler, on_error=TO_DLQ):
            await bench.until(lambda: bench.committed(0) == 2)
        assert begun.values == [b"bad", b"behind"]
        assert [record.value for record in bench.kafka.records(DLQ)] == [b"bad"]

    async def test_does_not_delay_a_stop_by_the_drain_time(self, bench: Bench) -> None:
        begun = Begun()
        bench.kafka.fail_sends(*["refused"] * 1000, topic=DLQ)
        await bench.send(b"bad")
        async with bench.running(begun.handler, on_error=TO_DLQ):
            await bench.until(lambda: bench.consumer.status().partitions[0].unwritten)
            began_s = bench.kafka.clock.now()
        assert bench.kafka.clock.now() - began_s < 5
        assert bench.committed(0) in (None, 0)

    async def test_is_abandoned_if_its_first_write_fails_during_a_stop(self, bench: Bench) -> None:
        begun = Begun()
        bench.kafka.fail_sends(*["refused"] * 1000, topic=DLQ)
        await bench.send(b"bad")
        with bench.kafka.latency(produce_ms=(2_000, 2_000)):
            async with bench.running(begun.handler, on_error=TO_DLQ):
                await bench.until(lambda: begun.values == [b"bad"])
                began_s = bench.kafka.clock.now()
            assert bench.kafka.clock.now() - began_s < 10
        assert bench.committed(0) in (None, 0)

    async def test_is_shown_as_soon_as_its_producer_cannot_start_together_with_those_that_wait_for_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, clock = Begun(), bench.kafka.clock
        monkeypatch.setattr(ClusterView, "sink", lambda *_: Unreachable(clock))
        for partition in range(2):
            await bench.send(b"bad", partition=partition)
        async with bench.running(begun.handler, on_error=TO_DLQ):
            await bench.until(lambda: len(begun.values) == 2)
            began_s = clock.now()
            await bench.until(lambda: all(one.unwritten for one in bench.consumer.status().partitions))
            assert clock.now() - began_s < 1.5 * Unreachable.START_S
            began_s = clock.now()
        assert clock.now() - began_s < 5

    async def test_is_handled_again_by_its_next_owner(self, bench: Bench) -> None:
        begun = Begun()
        bench.kafka.fail_sends(*["refused"] * 2, topic=DLQ)
        await bench.send(b"bad")
        async with bench.running(begun.handler, on_error=TO_DLQ):
            await bench.until(lambda: bench.consumer.status().partitions[0].unwritten)
            bench.kafka.rebalance(GROUP)
            await bench.until(lambda: bench.committed(0) == 1)
        assert begun.values == [b"bad", b"bad"]

    async def test_of_a_batch_waits_in_its_own_lane(self, bench: Bench) -> None:
        handler, begun = Handler(), list[bytes]()

        @handler.event("E", batch=True)
        async def on_e(values: list[bytes]) -> None:
            begun.extend(values)
            if b"bad" in values:
                raise ValueError("poison")

        bench.kafka.fail_sends(*["refused"] * 6, topic=DLQ)
        await bench.send(b"bad", key="a")
        async with bench.running(handler, on_error=TO_DLQ, concurrency=2):
            await bench.until(lambda: bench.consumer.status().partitions[0].unwritten)
            await bench.send(b"behind", key="a")
            await bench.send(b"good", key="b")
            await bench.until(lambda: b"good" in begun)
            assert b"behind" not in begun
            await bench.until(lambda: bench.committed(0) == 3)
        assert [record.value for record in bench.kafka.records(DLQ)] == [b"bad"]


class TestOnKafka:
    async def test_a_topic_that_was_deleted_is_created_again(self, kafka: RealBackend) -> None:
        topic, begun, app = await kafka.topic(2), Begun(), EVKafkaApp()
        config = kafka.config(topic, on_error=TO_DLQ)
        dead = f"{topic}.{config['group_id']}.dlq"
        app.add_consumer(config, begun.handler)  # type: ignore[arg-type]
        async with kafka.running(app):
            await kafka.send(topic, b"bad", partition=1)
            await eventually(lambda: committed(kafka, config, topic, 1, 1))
            await delete(kafka.servers, dead)
            await kafka.send(topic, b"bad again", partition=1)
            await kafka.send(topic, b"good", partition=0)
            await eventually(lambda: committed(kafka, config, topic, 0, 1))
            await eventually(lambda: committed(kafka, config, topic, 1, 2))
        assert (await partitions(kafka.servers, dead)) == 2

    async def test_a_topic_with_fewer_partitions_than_before_is_written_by_key(self, kafka: RealBackend) -> None:
        topic, begun, app = await kafka.topic(2), Begun(), EVKafkaApp()
        config = kafka.config(topic, on_error=TO_DLQ)
        dead = f"{topic}.{config['group_id']}.dlq"
        app.add_consumer(config, begun.handler)  # type: ignore[arg-type]
        async with kafka.running(app):
            await kafka.send(topic, b"bad", partition=1)
            await eventually(lambda: committed(kafka, config, topic, 1, 1))
            await delete(kafka.servers, dead)
            await eventually(lambda: create(kafka.servers, dead))
            await kafka.send(topic, b"bad again", partition=1)
            await eventually(lambda: committed(kafka, config, topic, 1, 2))
        assert (await partitions(kafka.servers, dead)) == 1

    @pytest.mark.parametrize("kind", ["dead letter", "retry"])
    async def test_a_record_without_a_key_stops_the_app_if_the_topic_is_compacted(
        self, kafka: RealBackend, topic: MakeTopic, kind: str
    ) -> None:
        source, begun, app = await kafka.topic(), Begun(), EVKafkaApp()
        policy = {**TO_DLQ, "retry_topics": [1000]} if kind == "retry" else TO_DLQ
        config = kafka.config(source, on_error=policy)
        name = f"{source}.{config['group_id']}." + ("retry.1000" if kind == "retry" else "dlq")
        await topic(name=name, config={"cleanup.policy": "compact"})
        app.add_consumer(config, begun.handler)  # type: ignore[arg-type]
        await kafka.send(source, b"bad")
        with pytest.raises(StopApp, match=r"refuses .*the record has no key, and a compacted topic requires one"):
            async with kafka.running(app):
                await eventually(lambda: app.service is not None and app.service.failure)
        assert await kafka.committed(config, source) in (None, 0)


async def committed(kafka: RealBackend, config: dict[str, Any], topic: str, partition: int, offset: int) -> bool:
    return await kafka.committed(config, topic, partition) == offset


async def delete(servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


async def create(servers: str, topic: str) -> bool:
    """With one partition; False while the deleted topic of its name still exists."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()
    return all(code == 0 for _, code, *_ in answer.topic_errors)


async def partitions(servers: str, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        return len((await admin.describe_topics([topic]))[0]["partitions"])
    finally:
        await admin.close()
