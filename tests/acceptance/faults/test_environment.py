"""Faults around an app: a full disk, a blocked event loop, dead letters that cannot be written, broker outages, members
that join and leave all the time. On a real Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
import time
from pathlib import Path
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic, committed, read
from tests.support.proxy import Proxy, proxy
from tests.support.stream import SESSION_S, Stream
from tests.support.waiting import eventually

__all__ = ["proxy"]


class FullDisk(io.StringIO):
    """A file on a full disk: Linux's /dev/full."""

    def write(self, text: str) -> int:
        with Path("/dev/full").open("wb", buffering=0) as disk:
            return disk.write(text.encode())


class TestALogOnAFullDisk:
    async def test_loses_log_lines_and_no_records(
        self, kafka_broker: KafkaBroker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stream, logger = Stream(kafka_broker.bootstrap_servers), logging.getLogger("evkafka")
        await stream.create()
        with FullDisk() as disk:
            full, level = logging.StreamHandler(disk), logger.level
            logger.setLevel(logging.DEBUG)
            logger.addHandler(full)
            try:
                async with stream.flowing() as app:
                    await stream.goes_on()
                    async with stream.app().running(on_failure=lambda _: None):  # a rebalance, which is logged
                        await stream.goes_on(50)
                    await stream.recovers(app=app)
            finally:
                logger.removeHandler(full)
                logger.setLevel(level)
        assert "No space left on device" in capsys.readouterr().err


class TestABlockedEventLoop:
    async def test_for_longer_than_a_session_loses_no_records(self, kafka_broker: KafkaBroker) -> None:
        stream = Stream(kafka_broker.bootstrap_servers)
        await stream.create()
        handler, app, blocked = Handler(), EVKafkaApp(), list[int]()

        @handler.event("E")
        async def on_event(number: int, request: Request) -> None:
            stream.note(request.partition, request.offset)
            if not blocked and request.offset == 10:
                blocked.append(request.offset)
                time.sleep(SESSION_S + 1)  # noqa: ASYNC251 - the fault itself

        app.add_consumer(stream.config(), handler)  # type: ignore[arg-type]
        await stream.write(30)
        async with app.running(on_failure=lambda _: None):
            await eventually(lambda: blocked)
            await stream.write(30)
            await stream.is_done(app)
            stream.in_order()


class TestDeadLettersThatCannotBeWritten:
    async def test_block_the_commit_of_their_record_until_they_are_written(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, proxy: Proxy
    ) -> None:
        servers, stream = kafka_broker.bootstrap_servers, Stream(kafka_broker.bootstrap_servers, partitions=1)
        dead = await topic()
        await stream.create()
        handler, app, attempts = Handler(), EVKafkaApp(), list[int]()

        @handler.event("E")
        async def on_event(number: int, request: Request) -> None:
            attempts.append(request.offset)
            if request.offset == 2:
                raise ValueError("poison")

        policy: dict[str, Any] = {
            "max_attempts": 1,
            "then": "dead_letter",
            "dead_letter_topic": dead,
            "dead_letter_producer": {"bootstrap_servers": proxy.bootstrap_servers},
        }
        app.add_consumer(stream.config(on_error=policy), handler)  # type: ignore[arg-type]
        async with app.running(on_failure=lambda _: None):
            await proxy.set("refuse")
            await stream.write(5)
            await eventually(lambda: 2 in attempts)
            await eventually(lambda: is_committed(servers, stream, 2))
            with pytest.raises(AssertionError):  # not while the dead letter is unwritten
                await eventually(lambda: is_committed(servers, stream, 5), 1.5)
            assert app.service is not None
            assert app.service.failure is None
            await proxy.set("pass")
            await eventually(lambda: is_committed(servers, stream, 5))
        assert len(await read(servers, dead, 0)) == 1


async def is_committed(servers: str, stream: Stream, offset: int) -> bool:
    assert await committed(servers, stream.group, stream.topic, 0) == offset
    return True


class TestABrokerOutage:
    @pytest.mark.parametrize(
        "outage_s",
        [SESSION_S + 2, pytest.param(120.0, marks=[pytest.mark.long, pytest.mark.timeout(400)])],
        ids=["longer than a session", "two minutes"],
    )
    async def test_the_app_waits_for_its_end(self, outage_s: float) -> None:
        with KafkaBroker() as broker:
            stream = Stream(broker.bootstrap_servers)
            await stream.create()
            await stream.write(20)
            app = stream.app()
            async with app.running(on_failure=lambda _: None):
                await stream.is_done(app)
                await asyncio.to_thread(broker.kill)
                await asyncio.sleep(outage_s)
                await asyncio.to_thread(broker.restart)
                await stream.write(50)
                await stream.is_done(app)
                stream.in_order()


class TestMembersThatJoinAndLeave:
    @pytest.mark.parametrize(
        ("partitions", "members", "rounds"),
        [
            (4, 3, 10),
            pytest.param(8, 4, 240, marks=[pytest.mark.long, pytest.mark.timeout(400)]),
            pytest.param(80, 12, 60, marks=[pytest.mark.long, pytest.mark.timeout(400)]),
        ],
        ids=["5 s", "two minutes", "80 partitions, 12 members"],
    )
    async def test_every_half_second_lose_no_records(
        self, kafka_broker: KafkaBroker, partitions: int, members: int, rounds: int
    ) -> None:
        stream, chance = Stream(kafka_broker.bootstrap_servers, partitions=partitions), random.Random(partitions)
        await stream.create()
        async with stream.coming(), contextlib.AsyncExitStack() as staying:
            await staying.enter_async_context(stream.app().running(on_failure=lambda _: None))
            guests: list[contextlib.AsyncExitStack] = []
            for _ in range(rounds):
                await asyncio.sleep(0.5)  # the pace of the fault
                if guests and (len(guests) == members - 1 or chance.random() < 0.5):
                    await guests.pop(chance.randrange(len(guests))).aclose()
                else:
                    guest = await staying.enter_async_context(contextlib.AsyncExitStack())
                    await guest.enter_async_context(stream.app().running(on_failure=lambda _: None))
                    guests.append(guest)
            await stream.recovers()
