"""Records that the broker refuses fail alone; the producer is replaced, and all other sends continue."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.exceptions import DeliveryError
from tests.kafka.producer.streams import Stream
from tests.kafka.producer.topics import values
from tests.support.fake_kafka import FakeKafka
from tests.support.kafka_topics import MakeTopic
from tests.support.proxy import PRODUCE, Proxy
from tests.support.waiting import eventually

INIT_PRODUCER_ID = 22


def config_for(servers: str, topic: str, **more: Any) -> Any:
    return {"bootstrap_servers": servers, "topic": topic, "delivery_timeout_ms": 120_000, **more}


def ids_asked_for(proxy: Proxy) -> int:
    return proxy.requests.count(INIT_PRODUCER_ID)


class TestTooLargeForTheTopic:
    """On the real broker, whose limit is `max.message.bytes`."""

    async def test_it_fails_alone_and_the_partition_can_be_sent_to_again(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name = await topic(config={"max.message.bytes": 2000})
        async with EVKafkaProducer(config_for(proxy.bootstrap_servers, name)) as producer:
            await producer.send_event("before", "X")
            first = ids_asked_for(proxy)
            with pytest.raises(DeliveryError, match=r"event 'Big' to .*larger than the topic's max.message.bytes") as e:
                await producer.send_event("x" * 3000, "Big")
            assert e.value.may_have_been_written is False
            assert [(await producer.send_event("after", "X")).offset for _ in range(3)] == [1, 2, 3]
        assert ids_asked_for(proxy) == first + 1  # each producer has its own id
        written = await values(kafka_broker.bootstrap_servers, name)
        assert written == [b"before", b"after", b"after", b"after"]

    async def test_those_in_the_same_batch_are_written_once_and_in_order(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name = await topic(config={"max.message.bytes": 2000})
        async with EVKafkaProducer(config_for(proxy.bootstrap_servers, name)) as producer:
            rule = proxy.on(PRODUCE, hold=True)
            queued = [await producer.enqueue_event("first", "X")]
            await rule.seen.wait()
            for number in range(20):  # all wait for the first one's answer, as one batch
                value = "x" * 3000 if number == 7 else str(number)
                queued.append(await producer.enqueue_event(value, "X"))
            rule.release.set()
            ends = await asyncio.gather(*queued, return_exceptions=True)
        assert [number for number, end in enumerate(ends) if isinstance(end, Exception)] == [8]
        written = await values(kafka_broker.bootstrap_servers, name)
        assert written == [b"first", *(str(number).encode() for number in range(20) if number != 7)]

    async def test_small_records_whose_batch_is_too_large_are_all_written(
        self, kafka_broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        name = await topic(config={"max.message.bytes": 2000})
        async with EVKafkaProducer(config_for(kafka_broker.bootstrap_servers, name)) as producer:
            queued = [await producer.enqueue_event(f"{number:0300}", "X") for number in range(100)]
            await asyncio.gather(*queued)
        written = await values(kafka_broker.bootstrap_servers, name)
        assert [int(value) for value in written] == list(range(100))

    async def test_other_partitions_are_not_affected(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name, small = await topic(partitions=3), await topic(config={"max.message.bytes": 2000})
        async with EVKafkaProducer(config_for(proxy.bootstrap_servers, name)) as producer:
            stream = Stream(producer, 3)
            await eventually(lambda: len(stream.confirmed) > 100)
            first = ids_asked_for(proxy)
            for _ in range(4):
                with pytest.raises(DeliveryError):
                    await producer.send_event("x" * 3000, "Big", small)
                before = len(stream.confirmed)
                await eventually(lambda before=before: len(stream.confirmed) > before + 50)  # type: ignore[misc]
            await stream.end()
        assert stream.failed == []
        assert ids_asked_for(proxy) == first + 4
        await stream.check_written(kafka_broker.bootstrap_servers, name)


class TestOnTheFake:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (10, "larger than the topic's max.message.bytes"),
            (29, "an ACL for WRITE is missing"),
            (87, "INVALID_RECORD"),
            (35, "UnsupportedVersionError"),
        ],
    )
    async def test_a_refused_record_fails_and_the_next_ones_do_not(
        self, fake: FakeKafka, name: str, code: int, words: str
    ) -> None:
        await fake.create(name)
        async with EVKafkaProducer(config_for(fake.bootstrap_servers, name)) as producer:
            await producer.send_event("0", "X")
            await fake.fault(PRODUCE, code, topic=name)
            with pytest.raises(DeliveryError, match=words) as error:
                await producer.send_event("refused", "X")
            assert error.value.may_have_been_written is False
            assert isinstance(error.value.__cause__, KafkaError)
            await producer.send_events(["1", "2"], "X")
        assert await values(fake.bootstrap_servers, name) == [b"0", b"1", b"2"]

    @pytest.mark.parametrize("code", [2, 45, 47, 59, 90])
    async def test_a_lost_sequence_or_fencing_replaces_the_producer_and_fails_no_record(
        self, fake: FakeKafka, name: str, code: int
    ) -> None:
        await fake.create(name, 2)
        async with EVKafkaProducer(config_for(fake.bootstrap_servers, name)) as producer:
            stream = Stream(producer, 2)
            await eventually(lambda: len(stream.confirmed) > 50)
            fault = await fake.fault(PRODUCE, code, topic=name)
            await eventually(fault.hits)
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 200)
            await stream.end()
        assert stream.failed == []
        await stream.check_written(fake.bootstrap_servers, name)

    @pytest.mark.parametrize("code", [3, 6, 7, 19, 20, 56])
    async def test_transient_refusals_are_retried_and_write_nothing_twice(
        self, fake: FakeKafka, name: str, code: int
    ) -> None:
        await fake.create(name)
        async with EVKafkaProducer(config_for(fake.bootstrap_servers, name)) as producer:
            stream = Stream(producer, 1)
            await eventually(lambda: len(stream.confirmed) > 20)
            fault = await fake.fault(PRODUCE, code, topic=name, count=2)
            await eventually(lambda: _hits(fault, 2))
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 20)
            await stream.end()
        assert stream.failed == []
        await stream.check_written(fake.bootstrap_servers, name)

    async def test_lasting_refusals_end_at_the_deadline(self, fake: FakeKafka, name: str) -> None:
        await fake.create(name)
        async with EVKafkaProducer(config_for(fake.bootstrap_servers, name, delivery_timeout_ms=800)) as producer:
            await producer.send_event("0", "X")
            fault = await fake.fault(PRODUCE, 19, topic=name, count=-1)
            with pytest.raises(DeliveryError, match=r"no confirmation within 800 ms \(delivery_timeout_ms\)"):
                await producer.send_event("refused", "X")
            await fault.heal()
            await eventually(lambda: _sent(producer, "1"))
        assert (await values(fake.bootstrap_servers, name))[-1] == b"1"

    async def test_a_leader_that_moves_is_followed(self, fake: FakeKafka, name: str) -> None:
        await fake.create(name, 2)
        async with EVKafkaProducer(config_for(fake.bootstrap_servers, name)) as producer:
            stream = Stream(producer, 2)
            for _ in range(3):
                before = len(stream.confirmed)
                await eventually(lambda before=before: len(stream.confirmed) > before + 50)  # type: ignore[misc]
                await fake.move_leader(name, 0)
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 50)
            await stream.end()
        assert stream.failed == []
        await stream.check_written(fake.bootstrap_servers, name)

    async def test_broken_connections_and_missing_answers_write_nothing_twice(self, fake: FakeKafka, name: str) -> None:
        await fake.create(name)
        async with EVKafkaProducer(config_for(fake.bootstrap_servers, name, request_timeout_ms=500)) as producer:
            stream = Stream(producer, 1)
            await eventually(lambda: len(stream.confirmed) > 20)
            for break_it in (fake.hang_up, fake.never_answer):
                await break_it(PRODUCE)
                before = len(stream.confirmed)
                await eventually(lambda before=before: len(stream.confirmed) > before + 200)  # type: ignore[misc]
            await fake.disconnect()
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 200)
            await stream.end()
        assert stream.failed == []
        await stream.check_written(fake.bootstrap_servers, name)

    async def test_a_producer_that_cannot_be_replaced_at_once_is_replaced_later(
        self, fake: FakeKafka, name: str
    ) -> None:
        await fake.create(name)
        async with EVKafkaProducer(config_for(fake.bootstrap_servers, name)) as producer:
            await producer.send_event("0", "X")
            await fake.fault(PRODUCE, 87, topic=name)
            refusing = await fake.fault(INIT_PRODUCER_ID, 31, count=2)
            with pytest.raises(DeliveryError):
                await producer.send_event("refused", "X")
            assert (await producer.send_event("1", "X")).offset == 1
            assert await refusing.hits() == 2

    @pytest.mark.parametrize("seed", [1, 2, 3])
    async def test_combined_faults_lose_double_and_reorder_nothing(self, fake: FakeKafka, name: str, seed: int) -> None:
        chance = random.Random(seed)
        await fake.create(name, 3)
        config = config_for(fake.bootstrap_servers, name, request_timeout_ms=400, max_batch_size=3000)
        async with EVKafkaProducer(config) as producer:
            stream = Stream(producer, 3)
            for _ in range(25):
                match chance.randrange(6):
                    case 0 | 1:
                        code = chance.choice([2, 3, 6, 7, 10, 19, 20, 45, 47, 59, 87])
                        await fake.fault(PRODUCE, code, topic=name, count=chance.randrange(1, 4))
                    case 2:
                        await fake.hang_up(PRODUCE)
                    case 3:
                        await fake.never_answer(PRODUCE)
                    case 4:
                        await fake.move_leader(name, chance.randrange(3))
                    case 5:
                        await fake.disconnect()
                before = len(stream.ends)
                await eventually(lambda before=before: len(stream.ends) > before + 50)  # type: ignore[misc]
            await stream.end()
            await eventually(lambda: _sent(producer, "last"))
        assert len(stream.confirmed) > 100
        await stream.check_written(fake.bootstrap_servers, name)


class TestAnEndedSender:
    async def test_its_unsent_records_go_to_the_next_producer(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """aiokafka's sender ends with an unexpected error."""
        name = await topic()
        async with EVKafkaProducer(config_for(kafka_broker.bootstrap_servers, name)) as producer:
            await producer.send_event("0", "X")
            sink: Any = producer._sink
            with monkeypatch.context() as patched:
                patched.setattr(sink._newest._accumulator, "drain_by_nodes", _broken)
                queued = [await producer.enqueue_event(str(number), "X") for number in range(1, 4)]
                await asyncio.gather(*queued)
            await producer.send_event("4", "X")
        assert await values(kafka_broker.bootstrap_servers, name) == [b"0", b"1", b"2", b"3", b"4"]


def _broken(*args: Any, **options: Any) -> Any:
    raise RuntimeError("a fault of the client's own")


async def _hits(fault: Any, wanted: int) -> bool:
    return bool(await fault.hits() >= wanted)


async def _sent(producer: EVKafkaProducer, text: str) -> bool:
    try:
        await producer.send_event(text, "X")
    except DeliveryError:
        return False
    return True
