"""A member of a group of the consumer protocol that sends its heartbeats when a test tells it to."""

from __future__ import annotations

import uuid
from typing import Any

from aiokafka.client import CoordinationType

from evkafka.kafka.client.group_protocol import (
    JOIN,
    ConsumerGroupHeartbeatRequest,
    MemberChanges,
)
from evkafka.kafka.client.node_connections import NodeConnections
from evkafka.kafka.client.offset_protocol import MemberCommitRequest, MemberIdentity
from tests.support.waiting import eventually


class GroupMember:
    def __init__(self, client: NodeConnections, group: str, topic: str) -> None:
        self.client = client
        self.group = group
        self.topic = topic
        self.id = str(uuid.uuid4())
        self.epoch = JOIN
        self.partitions: dict[uuid.UUID, frozenset[int]] = {}

    async def ask(self, request: Any) -> Any:
        node = await self.client.coordinator_lookup(CoordinationType.GROUP, self.group)
        return await self.client.send(node, request)

    async def beat(self, epoch: int | None = None, **changes: Any) -> Any:
        joins = {"rebalance_timeout_ms": 5_000, "topics": [self.topic], "owned": {}} if self.epoch == JOIN else {}
        told = MemberChanges(**{**joins, **changes})
        answer = await self.ask(
            ConsumerGroupHeartbeatRequest(self.group, self.id, self.epoch if epoch is None else epoch, told)
        )
        if answer.error_code == 0:
            self.epoch = answer.member_epoch
            self.partitions = dict(self.partitions if answer.assigned is None else answer.assigned)
        return answer

    async def join(self) -> None:
        """Join, and wait for partitions."""

        async def has_partitions() -> bool:
            assert (await self.beat(owned=self.partitions)).error_code == 0
            return bool(self.partitions)

        await eventually(has_partitions)

    async def commit(self, offset: int, epoch: int, ids: dict[str, uuid.UUID]) -> int:
        member = MemberIdentity(self.group, epoch, self.id)
        answer = await self.ask(MemberCommitRequest(member, [(self.topic, [(0, offset, -1, "text")])], ids))
        [(_, [(_, code)])] = answer.topics
        return int(code)
