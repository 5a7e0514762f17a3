"""The consumer protocol (KIP-848) of one group: the brokers assign, and only the partitions that move change hands.

Each change (a member joins or leaves, a topic is created or grows) begins a new epoch with a new target assignment.
Each member then takes its own steps towards it, in its heartbeats, and waits for no other member except for the
partitions that it is to get from it:

| a member that speaks the consumer protocol | its step |
| --- | --- |
| has partitions that it is not to have | it revokes these, then reports that they are free |
| is to have partitions that are free | they are added to its assignment |
| is to have partitions that another member has not released | it waits for that member |

A classic member in the same group, during an upgrade, rejoins in each epoch: it gives back everything, and is assigned
its share as soon as all of it is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from evkafka.records import TopicPartition
from evkafka.testing.memory.assignor import assign_uniformly
from evkafka.testing.memory.member import Member, format_partitions
from evkafka.testing.memory.state import ClusterState


class Reconciliation:
    """Moves the members of one group towards their target assignment.

    Args:
        group: its name, in the trace.
        members: the group's, kept by the group.

    Attributes:
        active: whether the group assigns by this protocol now: one of its members speaks it.
    """

    def __init__(self, group: str, members: Sequence[Member], cluster: ClusterState) -> None:
        self.active = False
        self._group = group
        self._members = members
        self._cluster = cluster
        self._epoch = 0
        self._target: dict[Member, set[TopicPartition]] = {}
        self._owners: dict[TopicPartition, Member] = {}
        self._deleted: set[TopicPartition] = set()  # owned partitions of topics that were deleted
        self._heartbeats: dict[Member, asyncio.Task[None]] = {}

    # ------------------------------------------------------------------ the target assignment

    def begin_reconciling(self, epoch: int) -> None:
        """The group assigns by the consumer protocol from now on. No member has a partition yet."""
        self.active = True
        self._target.clear()
        self._owners.clear()
        self._deleted.clear()
        self.compute_target(epoch)

    def end_reconciling(self) -> None:
        """The group no longer assigns by the consumer protocol: the last member that uses it has left."""
        self.active = False

    def compute_target(self, epoch: int) -> None:
        """Members or topics have changed: a new target in a new epoch."""
        members = sorted(self._members, key=lambda member: member.order)
        subscribed = {
            member: [tp for topic in member.subscribed_topics() for tp in self._cluster.topics.partitions(topic)]
            for member in members
        }
        self._set_target_and_resume_heartbeats(epoch, assign_uniformly(subscribed, self._target))

    def revoke_partitions_of_all_members(self, epoch: int) -> None:
        """A target in which nobody has anything."""
        self._set_target_and_resume_heartbeats(epoch, {member: set() for member in self._members})

    def mark_deleted_topic_for_revocation(self, name: str) -> None:
        """The topic was deleted: its partitions will be revoked, even if there is a new topic of that name by then.
        Called before `compute_target`."""
        self._deleted |= {tp for tp in self._owners if tp.topic == name}

    def move_target_to_returned_member(self, left: Member, back: Member) -> None:
        """A static member is back: it gets what the process before it had."""
        self._target[back] = self._target.pop(left, set())

    def _set_target_and_resume_heartbeats(self, epoch: int, target: dict[Member, set[TopicPartition]]) -> None:
        self._epoch, self._target = epoch, target
        self._owners = {tp: owner for tp, owner in self._owners.items() if owner in target}
        self._deleted &= self._owners.keys()
        for member in sorted(target, key=lambda member: member.order):
            share = format_partitions(sorted(target[member]))
            self._cluster.trace.note("group %s: epoch %s, target of %s: %s", self._group, epoch, member.name, share)
        self._resume_heartbeats_of_all_members()

    # ------------------------------------------------------------------ heartbeats

    @property
    def settled(self) -> bool:
        """Whether every member has what it is to have, or waits for a session to expire."""
        return all(heartbeats.done() for heartbeats in self._heartbeats.values())

    def _resume_heartbeats_of_all_members(self) -> None:
        for member in self._target:
            heartbeats = self._heartbeats.get(member)
            if heartbeats is None or heartbeats.done():
                self._heartbeats[member] = self._cluster.run_in_background(self._reconcile_member(member))
        self._cluster.wake_waiters()

    async def _reconcile_member(self, member: Member) -> None:
        """Take the member's steps, until it has what it is to have, or must wait."""
        try:
            while True:
                await self._cluster.wait_random_loop_turns()
                await self._cluster.wait_for_outage_end()
                if not (self.active and member.alive and member in self._target):
                    return
                step = self._take_step if member.incremental else self._take_classic_step
                if not await step(member):
                    return
        finally:
            self._cluster.wake_waiters()

    async def _take_step(self, member: Member) -> bool:
        """Take the next step; False if there is none, or it must wait."""
        target, owned, epoch = self._target[member], self._owned_by(member), self._epoch
        if moving := sorted(owned - target | owned & self._deleted):
            await member.revoke(moving)
            self._forget_owner_of_partitions(member, moving)
            return True
        free = sorted(tp for tp in target - owned if tp not in self._owners)
        if not free and member.generation == epoch:
            return False
        await self._assign_partitions_to_member(member, free, epoch)
        return True

    async def _take_classic_step(self, member: Member) -> bool:
        if member.generation == self._epoch:
            return False
        await member.revoke()
        self._forget_owner_of_partitions(member, self._owned_by(member))
        if not (self.active and member.alive and member in self._target):
            return False
        target = sorted(self._target[member])
        if any(tp in self._owners for tp in target):
            return False
        await self._assign_partitions_to_member(member, target, self._epoch)
        return True

    def _owned_by(self, member: Member) -> set[TopicPartition]:
        return {tp for tp, owner in self._owners.items() if owner is member}

    async def _assign_partitions_to_member(
        self, member: Member, partitions: Sequence[TopicPartition], epoch: int
    ) -> None:
        self._owners.update(dict.fromkeys(partitions, member))
        if partitions:
            given = format_partitions(partitions)
            self._cluster.trace.note("group %s: epoch %s gives %s: %s", self._group, epoch, member.name, given)
        await member.assign(partitions, epoch)

    def _forget_owner_of_partitions(self, member: Member, partitions: Collection[TopicPartition]) -> None:
        """The member has reported that it has released them. A crashed one reports nothing."""
        released = [tp for tp in partitions if self._owners.get(tp) is member] if member.alive else []
        self._deleted.difference_update(released)
        for tp in released:
            del self._owners[tp]
        if released:
            self._resume_heartbeats_of_all_members()
