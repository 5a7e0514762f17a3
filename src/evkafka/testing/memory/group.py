"""A consumer group: members, generations, committed offsets, and the eager rebalances of the classic protocol, in
Kafka's order of events. `reconciliation.py` has the consumer protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from evkafka.records import TopicPartition
from evkafka.runtime.leader_epochs import UNKNOWN, LeaderEpochs
from evkafka.testing.memory.member import Member, format_partitions
from evkafka.testing.memory.reconciliation import Reconciliation
from evkafka.testing.memory.state import ClusterState


class Group:
    """Rebalances whenever a member joins or leaves: first every revoke, then, in a new generation, every assign.

    As with the real coordinator, a rebalance waits for all members it knows, so a crashed one delays it until its
    session expires. As soon as a member speaks the consumer protocol, `Reconciliation` assigns instead.

    Attributes:
        generation: of the classic protocol, or the epoch of the consumer protocol.
        committed: partition -> offset.
        metadata: partition -> metadata committed with the offset; absent if there was none.
        epochs: partition -> leader epoch of the record before the offset; UNKNOWN if the commit had none.
        pending: partition -> the undecided transactions with an offset of it.
        rebalancing: True from the first revoke to the last assign of a rebalance that stops all members.
    """

    def __init__(self, name: str, cluster: ClusterState) -> None:
        self.name = name
        self.generation = 0
        self.committed: dict[TopicPartition, int] = {}
        self.metadata: dict[TopicPartition, str] = {}
        self.epochs: dict[TopicPartition, int] = {}
        self.pending: dict[TopicPartition, set[int]] = {}
        self.members: list[Member] = []
        self.rebalancing = False
        self._cluster = cluster
        self._reconciliation = Reconciliation(name, self.members, cluster)
        self._moving_all: asyncio.Task[None] | None = None
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ members

    def join(self, member: Member) -> None:
        predecessor = self._member_with_same_instance_id(member)
        if predecessor is not None and not predecessor.left:  # UNRELEASED_INSTANCE_ID
            self._cluster.run_in_background(self._join_after_predecessor_left(member, predecessor))
            return
        self._cluster.trace.note("group %s: %s joins", self.name, member.name)
        if predecessor is not None:
            predecessor.awaits_session_expiry = False
            self.members.remove(predecessor)
            self._reconciliation.move_target_to_returned_member(predecessor, member)
        self.members.append(member)
        self.start_rebalance()

    def leave(self, member: Member) -> None:
        if member in self.members:
            self._cluster.trace.note("group %s: %s leaves", self.name, member.name)
            self.members.remove(member)
            self.start_rebalance()

    def _member_with_same_instance_id(self, member: Member) -> Member | None:
        """The member that has its instance id."""
        if member.instance_id is None:
            return None
        return next((one for one in self.members if one.instance_id == member.instance_id), None)

    async def _join_after_predecessor_left(self, member: Member, predecessor: Member) -> None:
        """Its instance id is in use: it joins when that member has left, or its session has expired."""
        while predecessor in self.members and not predecessor.left:
            await self._cluster.next_change_future()
        if member.alive:
            self.join(member)

    def start_full_rebalance(self) -> None:
        """Begin a rebalance of all partitions, as a test asks for it: all are revoked, then assigned."""
        if not self._reconciliation.active:
            self.start_rebalance()
        elif self._moving_all is None or self._moving_all.done():
            self._moving_all = self._cluster.run_in_background(self._revoke_and_reassign_all())

    async def _revoke_and_reassign_all(self) -> None:
        self.generation += 1
        self._reconciliation.revoke_partitions_of_all_members(self.generation)
        while not self._reconciliation.settled:
            await self._cluster.next_change_future()
        self.start_rebalance()

    @property
    def settled(self) -> bool:
        """Whether no partition is being revoked or assigned."""
        moving_all = self._moving_all is not None and not self._moving_all.done()
        return not self.rebalancing and not moving_all and self._reconciliation.settled

    def start_rebalance(self) -> None:
        """Members or topics have changed: begin a rebalance, or another one after the one that is running."""
        if self._reconciliation.active and self._is_incremental:
            self.generation += 1
            self._reconciliation.compute_target(self.generation)
            return
        self._reconciliation.end_reconciling()
        self._wanted = True
        if self._task is None or self._task.done():
            self.rebalancing = True
            self._task = self._cluster.run_in_background(self._run_rebalance())
        self._cluster.wake_waiters()

    @property
    def _is_incremental(self) -> bool:
        return any(member.incremental for member in self.members)

    async def _run_rebalance(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await self._revoke_all()
                while not self._wanted and any(member.awaits_session_expiry for member in self.members):
                    await self._cluster.next_change_future()
                await self._cluster.wait_for_outage_end()
                if self._wanted:
                    continue  # a member joined or left meanwhile; those that have revoked have nothing left to revoke
                self.generation += 1
                if self._is_incremental:
                    self._reconciliation.begin_reconciling(self.generation)
                    return
                assignments = self._compute_assignments()
                for member, share in assignments:
                    self._cluster.trace.note(
                        "group %s: generation %s gives %s: %s",
                        self.name,
                        self.generation,
                        member.name,
                        format_partitions(share),
                    )
                await asyncio.gather(*(member.assign(share, self.generation) for member, share in assignments))
        finally:
            self.rebalancing = False
            self._cluster.wake_waiters()

    async def _revoke_all(self) -> None:
        """Wait until all have revoked, except members whose sessions expire meanwhile: the coordinator drops those."""
        revoking = [(member, self._cluster.run_in_background(member.revoke())) for member in self.members]
        for _, task in revoking:
            task.add_done_callback(lambda _: self._cluster.wake_waiters())
        while any(not task.done() and member in self.members for member, task in revoking):
            await self._cluster.next_change_future()

    def _compute_assignments(self) -> list[tuple[Member, list[TopicPartition]]]:
        """Round robin over the members, in the order in which they joined."""
        members = sorted((member for member in self.members if member.alive), key=lambda member: member.order)
        shares: list[tuple[Member, list[TopicPartition]]] = [(member, []) for member in members]
        topics = sorted({topic for member in members for topic in member.subscribed_topics()})
        turn = 0
        for topic in topics:
            for tp in self._cluster.topics.partitions(topic):
                takers = [share for member, share in shares if topic in member.subscribed_topics()]
                takers[turn % len(takers)].append(tp)
                turn += 1
        return shares

    def on_topic_deleted(self, name: str) -> None:
        """Its offsets are deleted with it, and its partitions are revoked."""
        for offsets in (self.committed, self.metadata, self.epochs):
            for tp in [tp for tp in offsets if tp.topic == name]:
                del offsets[tp]
        self._reconciliation.mark_deleted_topic_for_revocation(name)
        self.start_rebalance()

    # ------------------------------------------------------------------ offsets

    def store_commit(
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
            self.epochs[tp] = epochs.epoch_before(tp, offsets[tp]) if epochs is not None else UNKNOWN
        self.metadata.update({tp: text for tp, text in metadata.items() if tp in offsets})
