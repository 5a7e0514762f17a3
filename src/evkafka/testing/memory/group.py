"""A consumer group: members, generations, committed offsets, eager rebalances in Kafka's order of events."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from evkafka.ports import TopicPartition

if TYPE_CHECKING:
    from evkafka.testing.memory.kafka import InMemoryKafka


class Member(Protocol):
    """What a group asks of a source."""

    order: int
    alive: bool

    def topics(self) -> Collection[str]: ...
    async def revoke(self) -> None: ...
    async def assign(self, partitions: Collection[TopicPartition], generation: int) -> None: ...


class Group:
    """Rebalances whenever a member comes or goes: first every revoke, then, in a new generation, every assign.

    Attributes:
        committed: partition -> offset.
        rebalancing: True from the first revoke to the last assign.
    """

    def __init__(self, name: str, kafka: InMemoryKafka) -> None:
        self.name = name
        self.generation = 0
        self.committed: dict[TopicPartition, int] = {}
        self.members: list[Member] = []
        self.rebalancing = False
        self._kafka = kafka
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def join(self, member: Member) -> None:
        self.members.append(member)
        self.rebalance()

    def leave(self, member: Member) -> None:
        if member in self.members:
            self.members.remove(member)
            self.rebalance()

    def rebalance(self) -> None:
        """Begin a rebalance, or have the one under way followed by another."""
        self._wanted = True
        if self._task is None or self._task.done():
            self.rebalancing = True
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await asyncio.gather(*(member.revoke() for member in self.members))
                if self._wanted:
                    continue  # somebody came or went meanwhile; those who have revoked have nothing to revoke
                self.generation += 1
                shares = self._shares()
                await asyncio.gather(*(member.assign(share, self.generation) for member, share in shares))
        finally:
            self.rebalancing = False
            self._kafka.wake()

    def _shares(self) -> list[tuple[Member, list[TopicPartition]]]:
        """Round robin, over members in the order in which they came."""
        members = sorted((member for member in self.members if member.alive), key=lambda member: member.order)
        shares: list[tuple[Member, list[TopicPartition]]] = [(member, []) for member in members]
        topics = sorted({topic for member in members for topic in member.topics()})
        turn = 0
        for topic in topics:
            for tp in self._kafka.partitions(topic):
                takers = [share for member, share in shares if topic in member.topics()]
                takers[turn % len(takers)].append(tp)
                turn += 1
        return shares

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
