"""A consumer group: members, generations, committed offsets, eager rebalances in Kafka's order of events."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from evkafka.records import TopicPartition
from evkafka.runtime.leader_epochs import UNKNOWN, LeaderEpochs

if TYPE_CHECKING:
    from evkafka.testing.memory.cluster import MemoryCluster


class Member(Protocol):
    """What a group asks of a source.

    Attributes:
        name: how the trace and errors call it.
        order: members that came first come first.
        alive: False once its process has crashed or it has left.
        haunts: True from a crash until the session has expired: the group takes it for a member still.
    """

    name: str
    order: int
    alive: bool
    haunts: bool

    def topics(self) -> Collection[str]: ...
    async def revoke(self) -> None: ...
    async def assign(self, partitions: Collection[TopicPartition], generation: int) -> None: ...


class Group:
    """Rebalances whenever a member comes or goes: first every revoke, then, in a new generation, every assign.

    As at the real coordinator, a rebalance waits for all that it takes for members, so a crashed one holds it up
    until its session expires.

    Attributes:
        committed: partition -> offset.
        metadata: partition -> what was committed beside the offset; absent where there was nothing.
        epochs: partition -> the leader epoch of the record before the offset; UNKNOWN where it was not said.
        rebalancing: True from the first revoke to the last assign.
    """

    def __init__(self, name: str, kafka: MemoryCluster) -> None:
        self.name = name
        self.generation = 0
        self.committed: dict[TopicPartition, int] = {}
        self.metadata: dict[TopicPartition, str] = {}
        self.epochs: dict[TopicPartition, int] = {}
        self.members: list[Member] = []
        self.rebalancing = False
        self._kafka = kafka
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ members

    def join(self, member: Member) -> None:
        self._kafka.trace.note("group %s: %s joins", self.name, member.name)
        self.members.append(member)
        self.rebalance()

    def leave(self, member: Member) -> None:
        if member in self.members:
            self._kafka.trace.note("group %s: %s is gone", self.name, member.name)
            self.members.remove(member)
            self.rebalance()

    def rebalance(self) -> None:
        """Begin a rebalance, or have the one under way followed by another."""
        self._wanted = True
        if self._task is None or self._task.done():
            self.rebalancing = True
            self._task = self._kafka.background(self._run())
        self._kafka.wake()

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await self._everybody_revokes()
                while not self._wanted and any(member.haunts for member in self.members):
                    await self._kafka.change()
                await self._kafka.until_back()
                if self._wanted:
                    continue  # somebody came or went meanwhile; those who have revoked have nothing to revoke
                self.generation += 1
                shares = self._shares()
                for member, share in shares:
                    self._kafka.trace.note(
                        "group %s: generation %s gives %s: %s",
                        self.name,
                        self.generation,
                        member.name,
                        _in_words(share),
                    )
                await asyncio.gather(*(member.assign(share, self.generation) for member, share in shares))
        finally:
            self.rebalancing = False
            self._kafka.wake()

    async def _everybody_revokes(self) -> None:
        """Wait for all, but for those whose sessions expire meanwhile: the coordinator goes on without them."""
        revoking = [(member, self._kafka.background(member.revoke())) for member in self.members]
        for _, task in revoking:
            task.add_done_callback(lambda _: self._kafka.wake())
        while any(not task.done() and member in self.members for member, task in revoking):
            await self._kafka.change()

    def _shares(self) -> list[tuple[Member, list[TopicPartition]]]:
        """Round robin, over members in the order in which they came."""
        members = sorted((member for member in self.members if member.alive), key=lambda member: member.order)
        shares: list[tuple[Member, list[TopicPartition]]] = [(member, []) for member in members]
        topics = sorted({topic for member in members for topic in member.topics()})
        turn = 0
        for topic in topics:
            for tp in self._kafka.topics.partitions(topic):
                takers = [share for member, share in shares if topic in member.topics()]
                takers[turn % len(takers)].append(tp)
                turn += 1
        return shares

    # ------------------------------------------------------------------ offsets

    def write(
        self,
        offsets: Mapping[TopicPartition, int],
        metadata: Mapping[TopicPartition, str],
        epochs: LeaderEpochs | None = None,
    ) -> None:
        """As at a real coordinator, a commit without metadata, or without epochs, clears what was there."""
        self._kafka.trace.note("group %s: commits %s", self.name, dict(offsets))
        self.committed.update(offsets)
        for tp in offsets:
            self.metadata.pop(tp, None)
            self.epochs[tp] = epochs.before(tp, offsets[tp]) if epochs is not None else UNKNOWN
        self.metadata.update({tp: text for tp, text in metadata.items() if tp in offsets})


def _in_words(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic}[{tp.partition}]" for tp in partitions) or "nothing"
