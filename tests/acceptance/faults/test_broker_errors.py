"""Brokers that answer with errors, coordinators and leaders that move. On the fake cluster."""

from __future__ import annotations

import pytest

from evkafka.exceptions import BrokerRefused
from evkafka.kafka.errors import ErrorCode
from tests.support.fake_kafka import FakeKafka
from tests.support.proxy import COMMIT, FETCH, HEARTBEAT, JOIN_GROUP, OFFSET_FETCH, SYNC_GROUP
from tests.support.stream import RECOVERY_S, Stream
from tests.support.waiting import eventually

WHILE_RUNNING = [
    *((COMMIT, code) for code in (7, 14, 15, 16, 22, 25, 27)),
    *((HEARTBEAT, code) for code in (14, 15, 16, 22, 25, 27)),
    (HEARTBEAT, ErrorCode.FENCED_INSTANCE_ID),  # transient for a member without an instance id
    *((FETCH, code) for code in (-1, 2, 3, 6, 56, 74)),
]
WHILE_JOINING = [
    *((JOIN_GROUP, code) for code in (14, 15, 16, 25, 27)),
    *((SYNC_GROUP, code) for code in (14, 16, 22, 25, 27)),
    *((OFFSET_FETCH, code) for code in (14, 15, 16)),
]


async def make_stream(fake: FakeKafka) -> Stream:
    stream = Stream(fake.bootstrap_servers)
    await fake.create(stream.topic, 2)
    return stream


@pytest.mark.kfake
class TestTransientError:
    @pytest.mark.parametrize(("api_key", "code"), WHILE_RUNNING)
    async def test_a_running_app_recovers(self, fake: FakeKafka, api_key: int, code: int) -> None:
        stream = await make_stream(fake)
        async with stream.flowing() as app:
            await stream.goes_on()
            of_group = api_key != FETCH
            await fake.fault(
                api_key, code, count=2, group=stream.group if of_group else "", topic="" if of_group else stream.topic
            )
            await stream.recovers(app=app)

    @pytest.mark.parametrize(("api_key", "code"), WHILE_JOINING)
    async def test_a_joining_app_recovers(self, fake: FakeKafka, api_key: int, code: int) -> None:
        stream = await make_stream(fake)
        await fake.fault(api_key, code, count=2, group=stream.group)
        async with stream.flowing() as app:
            await stream.recovers(app=app)


@pytest.mark.kfake
class TestFatalError:
    @pytest.mark.parametrize(
        ("api_key", "code", "sentence"),
        [
            (COMMIT, 30, "not authorized for group"),
            (HEARTBEAT, 30, "not authorized for group"),
            (HEARTBEAT, ErrorCode.FENCED_INSTANCE_ID, "has fenced this member"),
            (JOIN_GROUP, 30, "not authorized for group"),
            (FETCH, 29, "not authorized for topic"),
        ],
    )
    async def test_ends_the_app_with_an_error_that_names_it(
        self, fake: FakeKafka, api_key: int, code: int, sentence: str
    ) -> None:
        stream = await make_stream(fake)
        names = {"topic": stream.topic} if api_key == FETCH else {"group": stream.group}

        async def ends() -> None:
            app = stream.app(group_instance_id="pod-1" if code == ErrorCode.FENCED_INSTANCE_ID else None)
            await stream.write(5)
            if api_key == JOIN_GROUP:
                await fake.fault(api_key, code, count=-1, **names)
            async with app.running(on_failure=lambda _: None):
                if api_key != JOIN_GROUP:
                    await eventually(lambda: len(stream.started) == 10, RECOVERY_S)
                    await fake.fault(api_key, code, count=-1, **names)
                    await stream.write(5)
                await eventually(lambda: app.service is not None and app.service.failure, RECOVERY_S)

        with pytest.raises(BrokerRefused, match=sentence):
            await ends()


@pytest.mark.kfake
class TestMoves:
    async def test_the_app_follows_its_coordinator(self, fake: FakeKafka) -> None:
        stream = await make_stream(fake)
        async with stream.flowing() as app:
            for _ in range(3):
                await stream.goes_on()
                await fake.move_coordinator(stream.group)
            await stream.recovers(app=app)

    async def test_the_app_follows_a_leader(self, fake: FakeKafka) -> None:
        stream = await make_stream(fake)
        async with stream.flowing() as app:
            for _ in range(3):
                await stream.goes_on()
                await fake.move_leader(stream.topic)
            await stream.recovers(app=app)
