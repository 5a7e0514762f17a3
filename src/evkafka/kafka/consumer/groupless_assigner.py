"""The coordinator of a reader without a group: all partitions are assigned to it, and nothing is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka.consumer.group_coordinator import NoGroupCoordinator
from aiokafka.structs import TopicPartition as ClientPartition
from aiokafka.util import create_task

from evkafka.exceptions import BrokerError
from evkafka.kafka.consumer.leader_epochs import EpochOffset


class GrouplessAssigner(NoGroupCoordinator):
    """aiokafka's NoGroupCoordinator without its defects (aiokafka-defects.md#groupless-positions).

    aiokafka's calls no listener, and forgets all positions when a new partition appears: the other partitions are then
    read again, or skipped, by the reset rule.

    Args:
        listener: a ConsumerRebalanceListener.

    Attributes:
        topics_committed_before: topics that were read before the current assignment.
    """

    def __init__(self, client: Any, subscription: Any, *, listener: Any, **options: Any) -> None:
        self._listener = listener
        self._changing: asyncio.Task[None] | None = None
        self._assignment: Any = None
        self.topics_committed_before: frozenset[str] = frozenset()
        super().__init__(client, subscription, **options)

    def assign_all_partitions(self, check_unknown: bool = False) -> None:
        """Called at every change of the metadata."""
        if self._changing is None or self._changing.done():
            self._changing = create_task(self._reassign())

    async def _reassign(self) -> None:
        subscriptions = self._subscription
        before = self._assignment
        while before is None or set(self._all_partitions()) != before.tps or not before.active:
            old = before.tps if before is not None else frozenset()
            subscriptions.begin_reassignment()
            await self._listener.on_partitions_revoked(old)
            subscriptions.assign_from_subscribed(self._all_partitions())
            now = self._assignment = subscriptions.subscription.assignment
            for tp in now.tps & old:
                if before.state_value(tp).has_valid_position:
                    now.state_value(tp).seek(before.state_value(tp).position)
            self.topics_committed_before = frozenset(tp.topic for tp in old)
            await self._listener.on_partitions_assigned(now.tps)
            before = now

    def _all_partitions(self) -> list[ClientPartition]:
        return [
            ClientPartition(topic, partition)
            for topic in self._subscription.subscription.topics
            for partition in self._cluster.partitions_for_topic(topic) or ()
        ]

    async def look_up_committed_offsets(
        self, partitions: Collection[ClientPartition] | None
    ) -> dict[ClientPartition, EpochOffset]:
        """Always empty: nothing is ever committed."""
        return {}

    def tasks(self) -> list[asyncio.Task[Any] | None]:
        return [self._changing, getattr(self, "_reset_committed_task", None)]

    @property
    def has_ended(self) -> bool:
        """Whether a change of the assignment has failed."""
        changing = self._changing
        return changing is not None and changing.done() and (changing.cancelled() or changing.exception() is not None)

    def check_errors(self) -> None:
        if self.has_ended:
            assert self._changing is not None
            self._changing.result()
        super().check_errors()

    def translate_failure(self, error: Exception) -> BrokerError:
        return BrokerError(f"groupless reader: {error}")
