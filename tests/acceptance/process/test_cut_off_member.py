"""A member whose packets to the brokers are dropped: the group gives its partitions to another member, and the two
never handle records of one partition at the same time. On a real Kafka, behind a proxy."""

from __future__ import annotations

import asyncio
from typing import Any

from evkafka import EVKafkaApp, Handler, Request
from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.proxy import Proxy
from tests.support.stream import Stream
from tests.support.waiting import eventually

WORK_S = 0.1
RECORDS = 40
"""In each partition: the cut-off member has read them all, and needs four seconds for them."""


class Members:
    """Two apps of one group in this process, and which of them handle a record of which partition at the moment."""

    def __init__(self, topic: str, group_id: str) -> None:
        self.begun = {"cut off": 0, "other": 0}
        self.at_once: list[str] = []
        self._running: dict[int, str] = {}
        self._keys = {"topics": [topic], "group_id": group_id, "auto_offset_reset": "earliest"}

    def app(self, name: str, servers: str, **config: Any) -> EVKafkaApp:
        handler, app = Handler(), EVKafkaApp()

        @handler.event("E")
        async def on_event(number: int, request: Request) -> None:
            self.begun[name] += 1
            if (other := self._running.get(request.partition, name)) != name:
                self.at_once.append(f"{name} begins {request.partition}@{request.offset} beside {other}")
            self._running[request.partition] = name
            try:
                await asyncio.sleep(WORK_S)
            finally:
                self._running.pop(request.partition, None)

        app.add_consumer({**self._keys, "bootstrap_servers": servers, **config}, handler)
        return app


async def test_begins_no_record_beside_the_next_owner_of_its_partitions(
    kafka_broker: KafkaBroker, topic: MakeTopic, group_id: str
) -> None:
    name, servers = await topic(partitions=2), kafka_broker.bootstrap_servers
    members, config = Members(name, group_id), {"session_timeout_ms": 2000, "heartbeat_interval_ms": 300}
    stream = Stream(servers)
    stream.topic = name
    await stream.write(RECORDS)
    async with Proxy(servers) as proxy:
        cut_off = members.app("cut off", proxy.bootstrap_servers, **config)
        async with cut_off.running(on_failure=lambda _: None):
            await eventually(lambda: members.begun["cut off"] > 10)
            await proxy.set("blackhole")
            async with members.app("other", servers, **config).running():
                await eventually(lambda: members.begun["other"] > 20)
                await proxy.set("pass")
                await eventually(lambda: sum(members.begun.values()) > 2 * RECORDS)
    assert members.at_once == []
