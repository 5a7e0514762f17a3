"""The broker dies, freezes or is cut off during sends: each send ends in time, and nothing is written twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerUnavailable, DeliveryError
from tests.kafka.producer.sinks import frozen
from tests.kafka.producer.streams import Stream
from tests.kafka.producer.topics import contents
from tests.support.kafka_topics import MakeTopic
from tests.support.proxy import PRODUCE, Proxy
from tests.support.waiting import SLACK_S, eventually


def config_for(servers: str, topic: str, **more: Any) -> Any:
    return {
        "bootstrap_servers": servers,
        "topic": topic,
        "delivery_timeout_ms": 2500,
        "request_timeout_ms": 1000,
        **more,
    }


class TestBrokerKilled:
    async def test_every_send_ends_in_time_and_the_same_producer_goes_on(
        self, broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        servers = broker.bootstrap_servers
        name = await topic(partitions=2, brokers=servers)
        async with EVKafkaProducer(config_for(servers, name)) as producer:
            stream = Stream(producer, 2)
            await eventually(lambda: len(stream.confirmed) > 200)
            await asyncio.to_thread(broker.kill)
            await eventually(lambda: len(stream.failed) > 200)
            await asyncio.to_thread(broker.start)
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 200)
            await stream.end()
            assert (await producer.send_event("last", "X")).offset > 0
        stream.check_times(2.5)
        _, error = stream.failed[0]
        assert f"event 'X' to {name}[" in str(error)
        assert "delivery_timeout_ms" in str(error)
        await stream.check_written(servers, name)

    async def test_a_short_outage_is_survived_without_an_error(self, broker: KafkaBroker, topic: MakeTopic) -> None:
        servers = broker.bootstrap_servers
        name = await topic(brokers=servers)
        async with EVKafkaProducer(config_for(servers, name, delivery_timeout_ms=60_000)) as producer:
            stream = Stream(producer, 1)
            await eventually(lambda: len(stream.confirmed) > 100)
            await asyncio.to_thread(broker.restart)
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 100)
            await stream.end()
        assert stream.failed == []
        await stream.check_written(servers, name)


class TestBrokerFrozen:
    async def test_every_send_ends_in_time_and_the_same_producer_goes_on(
        self, broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        servers = broker.bootstrap_servers
        name = await topic(partitions=2, brokers=servers)
        async with EVKafkaProducer(config_for(servers, name)) as producer:
            stream = Stream(producer, 2)
            await eventually(lambda: len(stream.confirmed) > 200)
            with frozen(broker):
                await eventually(lambda: len(stream.failed) > 200)
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 200)
            await stream.end()
        stream.check_times(2.5)
        assert any(error.may_have_been_written for _, error in stream.failed)
        await stream.check_written(servers, name)

    async def test_what_was_not_answered_in_time_is_not_written_twice(
        self, broker: KafkaBroker, topic: MakeTopic
    ) -> None:
        servers = broker.bootstrap_servers
        name = await topic(brokers=servers)
        async with EVKafkaProducer(config_for(servers, name, delivery_timeout_ms=60_000)) as producer:
            await producer.send_event("first", "X")
            with frozen(broker):
                sending = await producer.enqueue_event("0", "X", partition=0)
                # The first request has no answer, and the next one is in flight when the broker wakes up.
                await asyncio.wait({sending}, timeout=1.5)
            assert (await sending).partition == 0
            assert (await producer.send_event("1", "X")).offset == 2
        found = await contents(servers, name)
        assert [record.value for record in found[0]] == [b"first", b"0", b"1"]

    async def test_flush_and_stop_end_in_time(self, broker: KafkaBroker, topic: MakeTopic) -> None:
        servers = broker.bootstrap_servers
        name = await topic(brokers=servers)
        loop = asyncio.get_running_loop()
        others = asyncio.all_tasks()
        producer = EVKafkaProducer(config_for(servers, name, delivery_timeout_ms=1500, request_timeout_ms=5000))
        await producer.start()
        await producer.send_event("first", "X")
        with frozen(broker):
            queued = [await producer.enqueue_event("x", "X")]
            began_s = loop.time()
            await producer.flush()
            assert loop.time() - began_s < 1.5 + SLACK_S
            with pytest.raises(DeliveryError, match="the broker has not answered"):
                await queued[0]
            queued = [await producer.enqueue_event("x", "X") for _ in range(3)]
            began_s = loop.time()
            await producer.stop(timeout_s=0.8)
            assert loop.time() - began_s < 0.8 + SLACK_S
            for one in queued:
                with pytest.raises(DeliveryError, match="the producer was stopped"):
                    await one
        await eventually(lambda: asyncio.all_tasks() == others)

    async def test_the_start_of_a_producer_reports_that_no_broker_answers(self, broker: KafkaBroker) -> None:
        servers = broker.bootstrap_servers
        producer = EVKafkaProducer(config_for(servers, "t", start_timeout_ms=700))
        with frozen(broker), pytest.raises(BrokerUnavailable):
            await producer.start()


class TestCutOff:
    async def test_a_lost_answer_writes_nothing_twice(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name = await topic()
        async with EVKafkaProducer(config_for(proxy.bootstrap_servers, name, delivery_timeout_ms=20_000)) as producer:
            await producer.send_event("0", "X")
            rule = proxy.on(PRODUCE, cut="after", count=2)
            stream = Stream(producer, 1)
            await eventually(lambda: rule.hits == 2 and len(stream.confirmed) > 100)
            await stream.end()
        assert stream.failed == []
        found = await contents(kafka_broker.bootstrap_servers, name)
        assert [int(record.value) for record in found[0]] == [0, *range(len(stream.ends))]

    async def test_a_record_that_is_not_sent_by_its_deadline_is_never_sent(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name = await topic()
        async with EVKafkaProducer(config_for(proxy.bootstrap_servers, name, delivery_timeout_ms=1000)) as producer:
            await producer.send_event("first", "X")
            await proxy.set("refuse")
            for _ in range(2):
                with pytest.raises(DeliveryError, match=r"cannot be reached|refused|delivery_timeout_ms") as error:
                    await producer.send_event("lost", "X")
                if not error.value.may_have_been_written:
                    break
            await proxy.set("pass")
            await eventually(lambda: _sent(producer, "last"))
        written = [record.value for record in (await contents(kafka_broker.bootstrap_servers, name))[0]]
        assert not error.value.may_have_been_written
        assert written.count(b"lost") <= 1  # the first of them was in flight when the connection broke
        assert written[-1] == b"last"

    @pytest.mark.parametrize("acks", [1, 0])
    async def test_with_less_than_all_acks_sends_end_in_time_too(
        self, topic: MakeTopic, proxy: Proxy, acks: int
    ) -> None:
        name = await topic()
        config = config_for(proxy.bootstrap_servers, name, acks=acks, enable_idempotence=False)
        async with EVKafkaProducer(config) as producer:
            await producer.send_event("first", "X")
            await proxy.set("refuse")
            stream = Stream(producer, 1)
            await eventually(lambda: len(stream.failed) > 50)
            await proxy.set("pass")
            before = len(stream.confirmed)
            await eventually(lambda: len(stream.confirmed) > before + 50)
            await stream.end()
        stream.check_times(2.5)

    async def test_the_buffer_is_bounded(self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy) -> None:
        name = await topic()
        config = config_for(proxy.bootstrap_servers, name, max_batch_size=4000, delivery_timeout_ms=30_000)
        async with EVKafkaProducer(config) as producer:
            await producer.send_event("first", "X")
            await proxy.set("blackhole")
            taken = 0

            async def send() -> None:
                nonlocal taken
                await producer.enqueue_event("x" * 1000, "X")
                taken += 1

            sending = [asyncio.ensure_future(send()) for _ in range(50)]
            await eventually(lambda: taken > 0)
            await asyncio.wait(sending, timeout=0.3)
            assert taken < 10  # two batches
            await proxy.set("pass")
            await asyncio.gather(*sending)
        assert len((await contents(kafka_broker.bootstrap_servers, name))[0]) == 51

    async def test_the_stop_also_sends_records_behind_the_batch_in_flight(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name = await topic()
        async with EVKafkaProducer(config_for(proxy.bootstrap_servers, name, max_batch_size=2000)) as producer:
            await producer.send_event("first", "X")
            rule = proxy.on(PRODUCE, hold=True)
            queued = [await producer.enqueue_event("x" * 1500, "X") for _ in range(2)]
            sending = asyncio.ensure_future(producer.enqueue_event("x" * 1500, "X"))  # waits for room
            await rule.seen.wait()
            asyncio.get_running_loop().call_soon(rule.release.set)
        queued.append(await sending)
        assert [(await one).offset for one in queued] == [1, 2, 3]

    async def test_a_send_that_waits_for_room_has_a_deadline_too(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name = await topic()
        config = config_for(proxy.bootstrap_servers, name, max_batch_size=2000, delivery_timeout_ms=1000)
        async with EVKafkaProducer(config) as producer:
            await producer.send_event("first", "X")
            await proxy.set("blackhole")
            began_s = asyncio.get_running_loop().time()
            ends = await asyncio.gather(
                *(producer.send_event("x" * 1500, "X") for _ in range(5)), return_exceptions=True
            )
            assert asyncio.get_running_loop().time() - began_s < 1 + SLACK_S
            assert [type(end) for end in ends] == [DeliveryError] * 5
            assert [end.may_have_been_written for end in ends if isinstance(end, DeliveryError)] == [True] + [False] * 4
            await proxy.set("pass")
            await eventually(lambda: _sent(producer, "last"))

    async def test_a_cancelled_send_that_has_not_been_sent_is_withdrawn(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        name = await topic()
        async with EVKafkaProducer(config_for(proxy.bootstrap_servers, name, delivery_timeout_ms=20_000)) as producer:
            await producer.send_event("first", "X")
            rule = proxy.on(PRODUCE, hold=True)
            under_way = asyncio.ensure_future(producer.send_event("second", "X"))
            await rule.seen.wait()
            waiting = [asyncio.ensure_future(producer.send_event(text, "X")) for text in ("taken back", "third")]
            await asyncio.sleep(0)
            waiting[0].cancel()
            rule.release.set()
            await under_way
            assert (await waiting[1]).offset == 2
        written = [record.value for record in (await contents(kafka_broker.bootstrap_servers, name))[0]]
        assert written == [b"first", b"second", b"third"]


async def _sent(producer: EVKafkaProducer, text: str) -> bool:
    try:
        await producer.send_event(text, "X")
    except DeliveryError:
        return False
    return True
