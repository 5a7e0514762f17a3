"""Topics that are deleted and recreated, offsets that have expired. On a real Kafka."""

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


class GatedStream(Stream):
    """A stream whose record at `offset` finishes only when the gate opens."""

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


async def recreate(stream: Stream) -> None:
    """Create the topic again, with a new log, and forget what was written and begun before."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stream.servers)
    await admin.start()

    async def created() -> bool:
        answer = await admin.create_topics([NewTopic(stream.topic, stream.partitions, 1)])
        return answer.topic_errors[0][1] == 0

    try:
        await eventually(created)
    finally:
        await admin.close()
    stream.started.clear()
    for offsets in stream.written.values():
        offsets.clear()


class TestARecreatedTopic:
    @pytest.mark.parametrize("rounds", [20, 100], ids=["shorter", "longer"])
    async def test_is_read_from_its_beginning(self, kafka_broker: KafkaBroker, rounds: int) -> None:
        stream = Stream(kafka_broker.bootstrap_servers)
        await stream.create()
        await stream.write(50)
        app = stream.app()
        async with app.running(on_failure=lambda _: None):
            await stream.goes_on(100)
            await delete(stream)
            await recreate(stream)
            await stream.write(rounds)
            await stream.is_done(app)

    @pytest.mark.parametrize("ends", ["before", "after"])
    async def test_is_not_skipped_by_a_commit_of_records_that_were_in_flight(
        self, kafka_broker: KafkaBroker, ends: str
    ) -> None:
        stream = GatedStream(kafka_broker.bootstrap_servers, offset=30)
        await stream.create()
        await stream.write(50)
        app = stream.app()
        async with app.running(on_failure=lambda _: None):
            await eventually(lambda: (0, 30) in stream.started, RECOVERY_S)
            await delete(stream)
            await eventually(lambda: app.status().consumers[0].membership == "joining", RECOVERY_S)
            if ends == "before":
                stream.gate.set()
                await eventually(lambda: not app.status().consumers[0].partitions, RECOVERY_S)
            await recreate(stream)
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


async def expire_offsets(stream: Stream) -> None:
    """Delete the group's commits, as `offsets.retention.minutes` does after a week without members."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=stream.servers)
    await admin.start()

    async def expired() -> bool:
        node = await admin.find_coordinator(stream.group)
        answer = await admin._client.send(node, DeleteGroupsRequest([stream.group]))
        return [code for _, code in answer.results] == [0]

    try:
        await eventually(expired, what="a group without members")
    finally:
        await admin.close()


class TestAGroupWhoseOffsetsHaveExpired:
    @pytest.mark.parametrize(("reset", "again"), [("earliest", 20), ("latest", 0)])
    async def test_starts_by_the_reset_policy_and_reports_it(
        self, kafka_broker: KafkaBroker, reset: str, again: int
    ) -> None:
        stream = Stream(kafka_broker.bootstrap_servers, partitions=1)
        await stream.create()
        await stream.write(20)
        app = stream.app()
        async with app.running(on_failure=lambda _: None):
            await stream.is_done(app)
        await expire_offsets(stream)
        stream.started.clear()
        app, resets = stream.app(auto_offset_reset=reset), list[PositionReset]()
        app.telemetry.listen(PositionReset, resets.append)
        async with app.running(on_failure=lambda _: None):
            await eventually(lambda: resets, RECOVERY_S)
            await stream.write(5)
            await eventually(lambda: len(stream.started) == again + 5, RECOVERY_S)
