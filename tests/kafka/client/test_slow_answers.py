"""A slow answer is waited for while it makes progress; a silent one times out."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from aiokafka.protocol.fetch import FetchRequest

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConsumerSettings
from evkafka.kafka.client.connection import SilenceTimeout, connect
from evkafka.kafka.consumer import source_consumer
from evkafka.records import TopicPartition
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.consumer_watchdog import ConsumerWatchdog
from evkafka.runtime.interfaces import WatchdogRounds
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.session_check import SessionCheck
from evkafka.telemetry import Telemetry
from evkafka.testing.memory.clock import VirtualClock
from tests.support.kafka_reader import Read
from tests.support.kafka_topics import MakeTopic, produce_one
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

TP = TopicPartition("orders", 0)


class TestSilenceLimit:
    async def test_does_not_expire_while_there_is_progress(self) -> None:
        looks = 0
        enough = asyncio.Event()

        def come() -> int:
            nonlocal looks
            looks += 1
            if looks == 20:
                enough.set()
            return looks

        async with SilenceTimeout(0.005, come):
            await enough.wait()

    async def test_expires_after_silence(self) -> None:
        with pytest.raises(TimeoutError):
            async with SilenceTimeout(0.005, lambda: 7):
                await asyncio.Event().wait()


class TestAFetchOverASlowLine:
    async def test_may_take_longer_than_a_request_timeout(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        orders = await topic()
        await produce_one(kafka_broker.bootstrap_servers, orders, 4_000)
        host, port = proxy.bootstrap_servers.split(":")
        conn = await connect(host, int(port), {"client_id": "c", "request_timeout_ms": 1000})
        proxy.bytes_per_s = 1_000

        began_s = time.monotonic()
        answer = await conn.send(FetchRequest(500, 1, 2**20, 0, [(orders, [(0, 0, 2**20)])]))

        assert time.monotonic() - began_s > 2.0, "that was no slow line"
        assert len(answer.topics[0][1][0][-1]) > 4_000
        conn.close()

    async def test_is_aborted_after_silence(self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy) -> None:
        orders = await topic()
        host, port = proxy.bootstrap_servers.split(":")
        conn = await connect(host, int(port), {"client_id": "c", "request_timeout_ms": 200})
        await proxy.set("blackhole")

        with pytest.raises(TimeoutError):
            await conn.send(FetchRequest(50, 1, 2**20, 0, [(orders, [(0, 0, 2**20)])]))
        conn.close()

    async def test_is_visible_to_the_watchdog_and_is_no_lost_connection(
        self,
        kafka_broker: KafkaBroker,
        topic: MakeTopic,
        proxy: Proxy,
        read: Read,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(source_consumer, "MIN_FETCH_SILENCE_S", 0.5)
        orders = await topic()
        await produce_one(kafka_broker.bootstrap_servers, orders, 4_000)
        reader = await read(proxy.bootstrap_servers, orders, None, session_timeout_s=0.5)
        place = TP._replace(topic=orders)
        await eventually(lambda: len(reader.records) == 1)
        assert not reader.source.is_receiving_slowly(place)

        proxy.bytes_per_s = 1_000
        reader.source.seek(place, 0)

        await eventually(lambda: reader.source.is_receiving_slowly(place))
        assert not reader.source.is_receiving_slowly(place._replace(partition=1))
        assert reader.source.state() == "steady"
        proxy.bytes_per_s = None
        await eventually(lambda: len(reader.records) == 2)
        await eventually(lambda: not reader.source.is_receiving_slowly(place))


class StillSource:
    """A source whose partition has records to read, and whose position does not move."""

    receiving = False

    def is_receiving_slowly(self, partition: TopicPartition) -> bool:
        return self.receiving

    def position(self, partition: TopicPartition) -> int:
        return 3

    def end_offset(self, partition: TopicPartition) -> int:
        return 9

    def state(self) -> str:
        return "steady"

    def is_session_alive(self) -> bool:
        return True


class TestAPositionThatDoesNotMove:
    def watch(self, source: StillSource, *, for_s: float, session_timeout_s: float = 10.0) -> list[Exception]:
        clock, stalls = VirtualClock(), list[Exception]()
        settings = ConsumerSettings(session_timeout_s=session_timeout_s)
        assignment = Assignment("it", settings, LaneScheduler(clock), clock=clock, telemetry=Telemetry())
        assignment.add_new_partition(TP)
        watchdog = ConsumerWatchdog(
            assignment,
            executors=(),
            shortest_limit_s=20.0,
            session=SessionCheck(assignment),
            watchdog_rounds=WatchdogRounds(0.0),
            report=cast(Any, None),
            each_second=lambda _: None,
            on_failure=stalls.append,
        )
        watchdog.set_watched_source(cast(Any, source))
        watchdog.start()
        while clock.now() < for_s:
            watchdog.note_poll()
            clock.jump(clock.next_due() or for_s)
        watchdog.stop()
        return stalls

    async def test_is_a_stall_after_a_minute(self) -> None:
        assert self.watch(StillSource(), for_s=59) == []
        assert ["has not moved for 60 s" in str(stall) for stall in self.watch(StillSource(), for_s=65)] == [True]

    async def test_is_none_while_an_answer_arrives(self) -> None:
        source = StillSource()
        source.receiving = True

        assert self.watch(source, for_s=600) == []

    async def test_is_none_while_the_client_still_waits_for_an_answer_itself(self) -> None:
        assert self.watch(StillSource(), for_s=100, session_timeout_s=60.0) == []
        assert len(self.watch(StillSource(), for_s=125, session_timeout_s=60.0)) == 1
