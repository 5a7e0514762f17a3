"""Looks up the end offsets of partitions that are not fetched at the moment, such as paused ones.

A fetch returns the end of its partition. Without one the end would be as old as the last fetch, and a growing lag would
not show.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from aiokafka import errors as kafka
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, OffsetResetStrategy
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition as ClientPartition

logger = logging.getLogger("evkafka.runtime.kafka")

EVERY_S = 5.0


class EndOffsets:
    """Looks up end offsets that no fetch has updated for a while, and stores them where fetches do.

    Args:
        reads_committed: whether to look up the last stable offset (start of the first open transaction) too.
    """

    def __init__(self, client: Any, subscriptions: Any, *, reads_committed: bool) -> None:
        self._client = client
        self._subscriptions = subscriptions
        self._reads_committed = reads_committed

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            subscription = self._subscriptions.subscription
            assignment = subscription.assignment if subscription is not None else None
            if assignment is None or not assignment.active:
                continue
            try:
                await self._update_from_all_leaders(assignment)
            except (kafka.KafkaError, OSError, TimeoutError) as error:
                logger.debug("cannot look up the end offsets of partitions that are not being read: %r", error)

    async def _update_from_all_leaders(self, assignment: Any) -> None:
        since_ms = (time.time() - EVERY_S) * 1000
        by_leader: dict[int, list[ClientPartition]] = defaultdict(list)
        for tp in assignment.tps:
            state = assignment.state_value(tp)
            leader = self._client.cluster.leader_for_partition(tp)
            if state.has_valid_position and (state.timestamp or 0) < since_ms and leader not in (None, -1):
                by_leader[leader].append(tp)
        for leader, tps in by_leader.items():
            await self._update_from_leader(assignment, leader, tps)

    async def _update_from_leader(self, assignment: Any, leader: int, tps: Collection[ClientPartition]) -> None:
        for tp, end in (await self._list_offsets(leader, tps, READ_UNCOMMITTED)).items():
            if (state := assignment.state_value(tp)) is not None:  # else it was revoked meanwhile
                state.highwater = end
        if self._reads_committed:
            for tp, end in (await self._list_offsets(leader, tps, READ_COMMITTED)).items():
                if (state := assignment.state_value(tp)) is not None:
                    state.lso = end

    async def _list_offsets(
        self, leader: int, tps: Collection[ClientPartition], level: int
    ) -> dict[ClientPartition, int]:
        """The ends that the leader returns. The next round asks again for the others."""
        by_topic: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for tp in tps:
            by_topic[tp.topic].append((tp.partition, OffsetResetStrategy.LATEST))
        answer = await self._client.send(leader, OffsetRequest(-1, level, list(by_topic.items())))
        return {
            ClientPartition(topic, partition): offset
            for topic, rows in answer.topics
            for partition, code, _, offset, *_ in rows
            if not code
        }
