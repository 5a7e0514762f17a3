"""Topics that are deleted and come back, records and offsets that are gone: on a real Kafka."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from evkafka import EVKafkaApp, Handler
from evkafka import Request as EventRequest
from evkafka.broker import KafkaBroker
from evkafka.telemetry import PositionReset
from tests.support.stream import RECOVERY_S, Stream
from tests.support.waiting import eventually


class Gated(Stream):
    """A stream whose record at `offset` is not done before the gate opens."""

    def __init__(self, servers: str, *, offset: int) -> None:
        super().__init__(servers, partitions=1)
        self.offset, self.gate = offset, asyncio.Event()

    def app(self, **config: Any) -> EVKafkaApp:
        handler, app = Handler(), EVKafkaApp()

        @handler.event("E")
        async def on_event(number: int, request: EventRequest) -> None:
            self.note(request.partition, request.offset)
            if request.offset == self.offset:
                await self.gate.wait()

        app.add_consumer(self.config(**config), handler)  # type: ignore[arg-type]
        return app


async def delete(stream: Stream) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stream.servers)
    await admin.start()
    try:
        await admin.delete_topics([stream.topic])
    finally:
        await admin.close()


async def make_again(stream: Stream) -> None:
    """The same name, another log: what was written and begun until now counts no more."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stream.servers)
    await admin.start()

    async def made() -> bool:
        answer = await admin.create_topics([NewTopic(stream.topic, stream.partitions, 1)])
        return answer.topic_errors[0][1] == 0

    try:
        await eventually(made)
    finally:
        await admin.close()
    stream.begun.clear()
    for offsets in stream.written.values():
        offsets.clear()


class TestATopicThatIsDeletedAndMadeAgain:
    @pytest.mark.parametrize("rounds", [20, 100], ids=["shorter", "longer"])
    async def test_is_read_from_its_beginning(self, kafka_broker: KafkaBroker, rounds: int) -> None:
        stream = Stream(kafka_broker.bootstrap_servers)
        await stream.create()
        await stream.write(50)
        app = stream.app()
        async with app.running(on_failure=lambda _: None):
            await stream.goes_on(100)
            await delete(stream)
            await make_again(stream)
            await stream.write(rounds)
            await stream.is_done(app)

    @pytest.mark.parametrize("ends", ["before", "after"])
    async def test_is_not_passed_over_by_the_commit_of_what_was_in_flight(
        self, kafka_broker: KafkaBroker, ends: str
    ) -> None:
        stream = Gated(kafka_broker.bootstrap_servers, offset=30)
        await stream.create()
        await stream.write(50)
        app = stream.app()
        async with app.running(on_failure=lambda _: None):
            await eventually(lambda: (0, 30) in stream.begun, RECOVERY_S)
            await delete(stream)
            await eventually(lambda: app.status().consumers[0].membership == "joining", RECOVERY_S)
            if ends == "before":
                stream.gate.set()
                await eventually(lambda: not app.status().consumers[0].partitions, RECOVERY_S)
            await make_again(stream)
            stream.gate.set()
            await stream.write(80)
            await stream.is_done(app)


class DeleteGroupsResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 42, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32), ("results", Array(("group_id", String("utf-8")), ("error_code", Int16)))
    )


class DeleteGroupsRequestStruct(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION = 42, 0
    RESPONSE_TYPE = DeleteGroupsResponse
    SCHEMA = Schema(("groups", Array(String("utf-8"))))


class DeleteGroupsRequest(Request[DeleteGroupsRequestStruct]):  # type: ignore[misc]
    API_KEY = 42

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[DeleteGroupsRequestStruct]) -> DeleteGroupsRequestStruct:
        return request_struct_class(self._groups)


async def forget(stream: Stream) -> None:
    """What `offsets.retention.minutes` does to a group that has had no member for a week: its commits are gone."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=stream.servers)
    await admin.start()

    async def forgotten() -> bool:
        node = await admin.find_coordinator(stream.group)
        answer = await admin._client.send(node, DeleteGroupsRequest([stream.group]))
        return [code for _, code in answer.results] == [0]

    try:
        await eventually(forgotten, what="a group without members")
    finally:
        await admin.close()


class TestAGroupWhoseOffsetsHaveExpired:
    @pytest.mark.parametrize(("reset", "again"), [("earliest", 20), ("latest", 0)])
    async def test_begins_by_the_reset_rule_and_says_so(
        self, kafka_broker: KafkaBroker, reset: str, again: int
    ) -> None:
        stream = Stream(kafka_broker.bootstrap_servers, partitions=1)
        await stream.create()
        await stream.write(20)
        app = stream.app()
        async with app.running(on_failure=lambda _: None):
            await stream.is_done(app)
        await forget(stream)
        stream.begun.clear()
        app, resets = stream.app(auto_offset_reset=reset), list[PositionReset]()
        app.telemetry.listen(PositionReset, resets.append)
        async with app.running(on_failure=lambda _: None):
            await eventually(lambda: resets, RECOVERY_S)
            await stream.write(5)
            await eventually(lambda: len(stream.begun) == again + 5, RECOVERY_S)
