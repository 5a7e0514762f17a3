"""The committed offsets of one member of the consumer protocol: it looks them up, and commits them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import CommitRefused
from evkafka.kafka.client.coordinator_connection import CoordinatorConnection
from evkafka.kafka.client.group_protocol import JOIN
from evkafka.kafka.client.offset_protocol import (
    MemberCommitRequest,
    MemberIdentity,
    MemberOffsetFetchRequest,
)
from evkafka.kafka.consumer.commit import Commit, format_partitions, offset_rows_to_commit
from evkafka.kafka.consumer.leader_epochs import EpochOffset
from evkafka.kafka.consumer.membership import Membership
from evkafka.kafka.consumer.offset_fetch import StaleMemberError, error_for_code, read_committed_offsets
from evkafka.kafka.consumer.transaction_offsets import MemberTransactionOffsets
from evkafka.kafka.errors import ErrorCode
from evkafka.runtime.leader_epochs import LeaderEpochs


class AssignedPartition:
    """One assignment of one partition. It may be committed while it is one of `MemberOffsets.committable`.

    Attributes:
        deleted: the topic was deleted since. An offset of it, committed for a new topic of the same name, would skip
            records of the new one (aiokafka-defects.md#recreated-topics).
    """

    __slots__ = ("deleted", "topic_id")

    def __init__(self, topic_id: uuid.UUID) -> None:
        self.topic_id = topic_id
        self.deleted = False


class MemberOffsets:
    """Offsets of one member.

    Args:
        instance_id: the member's `group_instance_id`.
        epochs: leader epochs of the records read so far. They are committed with the offsets.
        schedule_heartbeat_now: called when a commit has shown that the coordinator has news for the member.
        on_fenced: called when another process has taken the member's instance id.

    Attributes:
        committable: the partitions that may be committed: those of the member, and those that it is giving back.
        topics_committed_before: topics that the group had committed offsets of before this member joined.
        looked_up_commits: the committed offsets that were last looked up, with their metadata.
    """

    def __init__(
        self,
        connection: CoordinatorConnection,
        membership: Membership,
        *,
        instance_id: str | None,
        epochs: LeaderEpochs,
        schedule_heartbeat_now: Callable[[], object],
        on_fenced: Callable[[], object],
    ) -> None:
        self.group_id = connection.key
        self.retry_backoff_s = connection.retry_backoff_s
        self.commit_lock = asyncio.Lock()
        self.committable: dict[ClientPartition, AssignedPartition] = {}
        self.topics_committed_before: frozenset[str] = frozenset()
        self.looked_up_commits: dict[ClientPartition, tuple[int, str]] = {}
        self._connection = connection
        self._membership = membership
        self._instance_id = instance_id
        self.epochs = epochs
        self._schedule_heartbeat_now = schedule_heartbeat_now
        self._on_fenced = on_fenced

    # ------------------------------------------------------------------ what may be committed

    def allow_commits(self, topic_ids: Mapping[ClientPartition, uuid.UUID]) -> None:
        """Allow commits of these partitions, which have just been assigned."""
        self.committable.update({tp: AssignedPartition(topic_id) for tp, topic_id in topic_ids.items()})

    def refuse_commits(self, tps: Iterable[ClientPartition]) -> None:
        """Refuse further commits of these partitions."""
        for tp in tps:
            self.committable.pop(tp, None)

    # ------------------------------------------------------------------ looking up

    async def look_up_topics_with_commits(self) -> None:
        """Look up which topics the group has committed offsets of.

        Called before the join: later commits may be those of members that start at the same time.
        """
        answer = await self._fetch_offsets(MemberOffsetFetchRequest(self.group_id, None, require_stable=False))
        self.topics_committed_before = frozenset(tp.topic for tp in read_committed_offsets(answer, None, {}))

    async def look_up_committed_offsets(
        self, partitions: Collection[ClientPartition] | None
    ) -> dict[ClientPartition, EpochOffset]:
        """The group's committed offsets of these partitions, with their leader epochs.

        Raises:
            KafkaError: any error in the answer.
        """
        if not partitions:
            return {}
        by_topic: dict[str, list[int]] = {}
        for tp in partitions:
            by_topic.setdefault(tp.topic, []).append(tp.partition)
        if self._membership.epoch == JOIN:
            raise StaleMemberError("the member is joining its group again")
        request = MemberOffsetFetchRequest(
            self.group_id,
            list(by_topic.items()),
            member_id=self._membership.member_id,
            member_epoch=self._membership.epoch,
        )
        return read_committed_offsets(await self._fetch_offsets(request), partitions, self.looked_up_commits)

    async def _fetch_offsets(self, request: MemberOffsetFetchRequest) -> Any:
        answer = await self._connection.send(request)
        match answer.error_code:
            case 0:
                return answer.topics
            case ErrorCode.GROUP_ID_NOT_FOUND:
                return []  # a group that does not exist has committed nothing
            case ErrorCode.UNKNOWN_MEMBER_ID | ErrorCode.STALE_MEMBER_EPOCH as code:
                self._schedule_heartbeat_now()
                raise StaleMemberError(f"group {self.group_id!r} does not know this epoch of the member ({code})")
            case code:
                error = error_for_code(code, self.group_id)
                if isinstance(error, kafka.NotCoordinatorForGroupError | kafka.GroupCoordinatorNotAvailableError):
                    self._connection.mark_coordinator_unknown()
                raise error

    # ------------------------------------------------------------------ committing

    async def commit(self, offsets: Mapping[ClientPartition, tuple[int, str]], *, timeout_s: float) -> None:
        """Commit these offsets with their metadata as the current member, or not at all; see `GroupMember.commit`."""
        assigned = self._require_assigned(offsets)
        if assigned:
            await Commit(self, assigned, {tp: offsets[tp] for tp in assigned}).run(timeout_s)
        self._refuse_commit_of_deleted_topics(offsets, assigned)

    def transaction_offsets(
        self, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> MemberTransactionOffsets[Mapping[ClientPartition, AssignedPartition]]:
        """These offsets, to be committed in a transaction; see `GroupMember.transaction_offsets`."""
        assigned = self._require_assigned(offsets)
        self._refuse_commit_of_deleted_topics(offsets, assigned)
        return MemberTransactionOffsets(self, assigned, offsets)

    def _require_assigned(self, partitions: Collection[ClientPartition]) -> dict[ClientPartition, AssignedPartition]:
        """These partitions as they were assigned, without those whose topic was deleted.

        Raises:
            CommitRefused: one is not this member's.
        """
        if foreign := [tp for tp in partitions if tp not in self.committable]:
            raise CommitRefused(f"group {self.group_id!r}: not assigned to this member: {format_partitions(foreign)}")
        return {tp: self.committable[tp] for tp in partitions if not self.committable[tp].deleted}

    def _refuse_commit_of_deleted_topics(
        self, partitions: Collection[ClientPartition], assigned: Mapping[ClientPartition, AssignedPartition]
    ) -> None:
        if refused := [tp for tp in partitions if tp not in assigned]:
            raise CommitRefused(f"group {self.group_id!r}: deleted after assignment: {format_partitions(refused)}")

    # What `Commit` needs of a member.

    @property
    def is_static(self) -> bool:
        return self._instance_id is not None

    def is_assignment_current(self, assigned: Mapping[ClientPartition, AssignedPartition]) -> bool:
        """Whether all of these partitions are still the same assignment."""
        return all(self.committable.get(tp) is one and not one.deleted for tp, one in assigned.items())

    def create_commit_request(
        self, assigned: Mapping[ClientPartition, AssignedPartition], offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> MemberCommitRequest:
        """A commit under the present epoch. Topics go by id where the broker has that."""
        topic_ids = {tp.topic: one.topic_id for tp, one in assigned.items()}
        rows = offset_rows_to_commit(offsets, self.epochs)
        return MemberCommitRequest(self.member_identity(assigned), rows, topic_ids)

    def member_identity(self, assigned: Mapping[ClientPartition, AssignedPartition]) -> MemberIdentity:
        """This member with its present epoch: a partition that it has held all the time is its own in each of them."""
        membership = self._membership
        return MemberIdentity(self.group_id, membership.epoch, membership.member_id, self._instance_id)

    async def ensure_coordinator_known(self) -> None:
        await self._connection.find_coordinator()

    async def send_unless_check_raises(
        self, request: MemberCommitRequest, *, check: Callable[[], None]
    ) -> Awaitable[Any]:
        return await self._connection.send_unless_check_raises(request, check=check)

    def coordinator_dead(self) -> None:
        self._connection.mark_coordinator_unknown()

    def request_new_member_epoch_if_supported(self) -> bool:
        """Return True, and make the next heartbeat due: its answer, or one that is on its way, has the new epoch."""
        self._schedule_heartbeat_now()
        return True

    def rejoin_if_membership_lost(self, code: int) -> None:
        """Send a heartbeat at once: its answer says whether the member has to join again."""
        self._schedule_heartbeat_now()

    def fail_as_fenced(self) -> None:
        self._on_fenced()
