"""A consumer group: members, generations, committed offsets, eager rebalances in Kafka's order of events."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from evkafka.records import TopicPartition
from evkafka.runtime.leader_epochs import UNKNOWN, LeaderEpochs
from evkafka.testing.memory.state import ClusterState


class Member(Protocol):
    """A group member, as the group uses it; see `MemorySource`.

    Attributes:
        name: its name in the trace and in errors.
        order: partitions are assigned to members in this order.
        alive: False once its process has crashed or it has left.
        haunts: True from a crash until the session has expired: the group still counts it as a member.
    """

    name: str
    order: int
    alive: bool
    haunts: bool

    def topics(self) -> Collection[str]: ...
    async def revoke(self) -> None: ...
    async def assign(self, partitions: Collection[TopicPartition], generation: int) -> None: ...


class Group:
    """Rebalances whenever a member joins or leaves: first every revoke, then, in a new generation, every assign.

    As with the real coordinator, a rebalance waits for all members it knows, so a crashed one delays it until its
    session expires.

    Attributes:
        committed: partition -> offset.
        metadata: partition -> metadata committed with the offset; absent if there was none.
        epochs: partition -> leader epoch of the record before the offset; UNKNOWN if the commit had none.
        rebalancing: True from the first revoke to the last assign.
    """

    def __init__(self, name: str, cluster: ClusterState) -> None:
        self.name = name
        self.generation = 0
        self.committed: dict[TopicPartition, int] = {}
        self.metadata: dict[TopicPartition, str] = {}
        self.epochs: dict[TopicPartition, int] = {}
        self.members: list[Member] = []
        self.rebalancing = False
        self._cluster = cluster
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ members

    def join(self, member: Member) -> None:
        self._cluster.trace.note("group %s: %s joins", self.name, member.name)
        self.members.append(member)
        self.rebalance()

    def leave(self, member: Member) -> None:
        if member in self.members:
            self._cluster.trace.note("group %s: %s leaves", self.name, member.name)
            self.members.remove(member)
            self.rebalance()

    def rebalance(self) -> None:
        """Begin a rebalance, or another one after the one that is running."""
        self._wanted = True
        if self._task is None or self._task.done():
            self.rebalancing = True
            self._task = self._cluster.background(self._run())
        self._cluster.wake()

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await self._revoke_all()
                while not self._wanted and any(member.haunts for member in self.members):
                    await self._cluster.change()
                await self._cluster.until_back()
                if self._wanted:
                    continue  # a member joined or left meanwhile; those that have revoked have nothing left to revoke
                self.generation += 1
                assignments = self._assignments()
                for member, share in assignments:
                    self._cluster.trace.note(
                        "group %s: generation %s gives %s: %s",
                        self.name,
                        self.generation,
                        member.name,
                        _format_partitions(share),
                    )
                await asyncio.gather(*(member.assign(share, self.generation) for member, share in assignments))
        finally:
            self.rebalancing = False
            self._cluster.wake()

    async def _revoke_all(self) -> None:
        """Wait until all have revoked, except members whose sessions expire meanwhile: the coordinator drops those."""
        revoking = [(member, self._cluster.background(member.revoke())) for member in self.members]
        for _, task in revoking:
            task.add_done_callback(lambda _: self._cluster.wake())
        while any(not task.done() and member in self.members for member, task in revoking):
            await self._cluster.change()

    def _assignments(self) -> list[tuple[Member, list[TopicPartition]]]:
        """Round robin over the members, in the order in which they joined."""
        members = sorted((member for member in self.members if member.alive), key=lambda member: member.order)
        shares: list[tuple[Member, list[TopicPartition]]] = [(member, []) for member in members]
        topics = sorted({topic for member in members for topic in member.topics()})
        turn = 0
        for topic in topics:
            for tp in self._cluster.topics.partitions(topic):
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
        """Store a commit. As with the real coordinator, one without metadata or epochs clears the old ones."""
        self._cluster.trace.note("group %s: commits %s", self.name, dict(offsets))
        self.committed.update(offsets)
        for tp in offsets:
            self.metadata.pop(tp, None)
            self.epochs[tp] = epochs.before(tp, offsets[tp]) if epochs is not None else UNKNOWN
        self.metadata.update({tp: text for tp, text in metadata.items() if tp in offsets})


def _format_partitions(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic}[{tp.partition}]" for tp in partitions) or "nothing"
