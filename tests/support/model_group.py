"""A model of a group of the consumer protocol (KIP-848): how the coordinator answers heartbeats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from evkafka.kafka.client.group_protocol import JOIN, LEAVE
from evkafka.kafka.consumer.membership import Answer, Heartbeat, Partitions, TopicIdPartition
from evkafka.kafka.errors import ErrorCode

NONE: Partitions = frozenset()
INTERVAL_S = 5.0


@dataclass
class Member:
    """One member, as the coordinator sees it.

    Attributes:
        assigned: what the member may have.
        pending: what it had, and has not reported to have given back.
    """

    epoch: int = 0
    previous_epoch: int = -1
    topics: frozenset[str] = frozenset()
    assigned: Partitions = NONE
    pending: Partitions = NONE
    target: Partitions = NONE


@dataclass
class Group:
    """A group that reads the partitions of one topic id or of several."""

    partitions: set[TopicIdPartition]
    members: dict[str, Member] = field(default_factory=dict)
    epoch: int = 0

    # ------------------------------------------------------------------ requests

    def heartbeat(self, member_id: str, beat: Heartbeat) -> Answer:
        if beat.epoch < JOIN:
            return self._leave(member_id, beat.epoch)
        if beat.epoch == JOIN:
            assert beat.is_full
            assert beat.owned == NONE, "a member that joins has nothing"
            assert beat.topics
            return self._join(member_id, beat)
        member = self.members.get(member_id)
        if member is None:
            return Answer(ErrorCode.UNKNOWN_MEMBER_ID)
        if beat.epoch != member.epoch:
            repeats = beat.epoch == member.previous_epoch and beat.owned is not None and beat.owned <= member.assigned
            if not repeats:
                return Answer(ErrorCode.FENCED_MEMBER_EPOCH)
        return self._reconcile(member, beat)

    def _join(self, member_id: str, beat: Heartbeat) -> Answer:
        member = self.members.get(member_id)
        if member is None:
            self.members[member_id] = member = Member()
            self._recompute()
        member.topics = beat.topics or NONE_TOPICS
        return self._reconcile(member, beat)

    def _leave(self, member_id: str, epoch: int) -> Answer:
        assert epoch == LEAVE
        self.remove(member_id)
        return Answer(0, epoch)

    def _reconcile(self, member: Member, beat: Heartbeat) -> Answer:
        before = (member.assigned, member.epoch)
        if beat.owned is not None:
            member.pending &= beat.owned
        owned = beat.owned
        revoke = member.assigned - member.target
        pending = member.pending | revoke
        if pending and (owned is None or pending & owned):
            member.assigned, member.pending = member.assigned & member.target, pending
        else:
            free = frozenset(one for one in member.target - member.assigned if self._is_free(one, member))
            member.assigned, member.pending = (member.assigned & member.target) | free, NONE
            if member.epoch != self.epoch:
                member.previous_epoch, member.epoch = member.epoch, self.epoch
        is_new = beat.epoch == JOIN or beat.is_full or member.assigned != before[0]
        return Answer(0, member.epoch, INTERVAL_S, member.assigned if is_new else None)

    def _is_free(self, one: TopicIdPartition, member: Member) -> bool:
        return all(one not in other.assigned | other.pending for other in self.members.values() if other is not member)

    # ------------------------------------------------------------------ what happens to the group

    def remove(self, member_id: str) -> None:
        """The member's session is over, or it has left."""
        if self.members.pop(member_id, None) is not None:
            self._recompute()

    def change_partitions(self, partitions: Iterable[TopicIdPartition]) -> None:
        self.partitions = set(partitions)
        self._recompute()

    def _recompute(self) -> None:
        """A new target: each member keeps what it may, and gets its share."""
        self.epoch += 1
        free = sorted(self.partitions)
        share, more = divmod(len(free), max(len(self.members), 1))
        for index, member in enumerate(self.members.values()):
            size = share + (index < more)
            member.target = frozenset(sorted(member.target & self.partitions)[:size])
            free = [one for one in free if one not in member.target]
        for index, member in enumerate(self.members.values()):
            wanted = share + (index < more) - len(member.target)
            member.target |= frozenset(free[:wanted])
            free = free[wanted:]

    @property
    def is_settled(self) -> bool:
        return all(
            member.epoch == self.epoch and member.assigned == member.target and not member.pending
            for member in self.members.values()
        )


NONE_TOPICS: frozenset[str] = frozenset()
