"""aiokafka's GroupCoordinator without its defects: joins, heartbeats, and the offsets a member may commit."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any

from aiokafka import errors as kafka
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError, BrokerRefused, CommitRefused
from evkafka.kafka.client.offset_protocol import MemberIdentity
from evkafka.kafka.client.protocol import (
    OffsetCommitWithEpochsRequest,
    OffsetFetchWithEpochsRequest,
    StaticHeartbeatRequest,
)
from evkafka.kafka.client.transaction_protocol import StableOffsetFetchRequest
from evkafka.kafka.consumer.commit import Commit, MemberAssignment, format_partitions, offset_rows_to_commit
from evkafka.kafka.consumer.leader_epochs import EpochOffset
from evkafka.kafka.consumer.offset_fetch import read_committed_offsets
from evkafka.kafka.consumer.transaction_offsets import MemberTransactionOffsets
from evkafka.kafka.errors import ErrorCode, code_name, translate_error
from evkafka.runtime.leader_epochs import LeaderEpochs
from evkafka.runtime.ports import GroupEpoch

logger = logging.getLogger("evkafka.runtime.kafka")

EXPULSIONS, EXPULSIONS_WITHIN_S = 5, 60.0

FAILED_COMMITS_REPORTED_EVERY_S = 1.0
"""aiokafka repeats a failed auto commit every 100 ms."""


HEARTBEATS = (HeartbeatRequest, StaticHeartbeatRequest)

OFFSET_FETCHES = (OffsetFetchWithEpochsRequest, StableOffsetFetchRequest)


class ClassicCoordinator(GroupCoordinator):
    """One member of a group.

    Args:
        looks_up_topics: whether to look up, before each join, which topics the group has committed offsets of.
        requires_stable: whether to wait, before an assigned partition is read, for open transactions that have offsets
            of it.
        epochs: leader epochs of the records read so far. They are committed with the offsets.
        on_failure: called with the error that makes this source unusable.
        on_positions_commit: called after each of aiokafka's auto commits with the positions, how long it took, and its
            error; of those that fail, once a second.

    Attributes:
        assignment: the assignment that may be committed under; None before the first and after each revocation.
        topics_committed_before: topics that the group had committed offsets of before its latest join.
        looked_up_commits: the committed offsets that were last looked up, with their metadata.
        confirmed_at_s: since when, at the least, the group's present session with this member runs.
    """

    assignment: MemberAssignment | None = None

    def __init__(
        self,
        client: Any,
        subscription: Any,
        *,
        looks_up_topics: bool,
        requires_stable: bool,
        epochs: LeaderEpochs,
        on_failure: Callable[[BrokerError], object],
        on_positions_commit: Callable[[Mapping[ClientPartition, int], float, BrokerError | None], object],
        **options: Any,
    ) -> None:
        super().__init__(client, subscription, **options)
        self._looks_up_topics = looks_up_topics
        self._requires_stable = requires_stable
        self.epochs = epochs
        self._on_failure = on_failure
        self._on_positions_commit = on_positions_commit
        self._failed_commit_reported_at_s = -math.inf
        self._expelled_at_s: deque[float] = deque(maxlen=EXPULSIONS)
        self._last_code = 0
        self._deleted: tuple[MemberAssignment | None, set[str]] = (None, set())
        self.topics_committed_before: frozenset[str] = frozenset()
        self.looked_up_commits: dict[ClientPartition, tuple[int, str]] = {}
        self.confirmed_at_s = client.now_s()

    # ------------------------------------------------------------------ answers

    async def _send_req(self, request: Any) -> Any:
        if isinstance(request, HeartbeatRequest) and self.is_static:
            # aiokafka's heartbeat lacks the group_instance_id, so no static member is ever fenced.
            request = StaticHeartbeatRequest(self.group_id, self.generation, self.member_id, self._group_instance_id)
        elif isinstance(request, OffsetCommitRequest):
            request = self._add_leader_epochs_to_commit_request(request)
        sent_s = self._client.now_s()
        answer = await super()._send_req(request)
        self._last_code = code = getattr(answer, "error_code", 0)
        if code in (0, ErrorCode.REBALANCE_IN_PROGRESS):
            if isinstance(request, HEARTBEATS):
                self.confirmed_at_s = sent_s
            elif isinstance(request, SyncGroupRequest):  # its answer waits for the group's leader, and begins a session
                self.confirmed_at_s = self._client.now_s()
        if code == ErrorCode.FENCED_INSTANCE_ID and self.is_static:
            self.fail_as_fenced()
        elif code == ErrorCode.FENCED_INSTANCE_ID:
            self.reset_generation()  # without an instance id nobody can have taken ours: join as a new member
        elif code == ErrorCode.UNKNOWN_MEMBER_ID and self.is_static:
            self._note_expulsion_and_fail_if_repeated()
        elif code not in (0, ErrorCode.GROUP_ID_NOT_FOUND) and isinstance(request, OFFSET_FETCHES):
            # The error of the whole answer. aiokafka ignores it and treats the empty answer as "no commit":
            # aiokafka-defects.md#failed-lookup.
            error = kafka.for_code(code)(self.group_id)
            if isinstance(error, kafka.NotCoordinatorForGroupError):
                self.coordinator_dead()
            raise error
        return answer

    def fail_as_fenced(self) -> None:
        """Fail: another process has taken the instance id of this static member."""
        self._on_failure(
            BrokerRefused(
                f"group {self.group_id!r} has fenced this member: another running process joined with the same"
                f" group_instance_id {self._group_instance_id!r}; give every process its own"
            )
        )

    def _note_expulsion_and_fail_if_repeated(self) -> None:
        """Two members with one instance id expel each other at every heartbeat, without an error: fail.

        Brokers before 2.3, and clients that do not fence, show it only like this (aiokafka-defects.md#static-members).
        """
        now_s = self._client.now_s()
        self._expelled_at_s.append(now_s)
        if len(self._expelled_at_s) == EXPULSIONS and now_s - self._expelled_at_s[0] < EXPULSIONS_WITHIN_S:
            self._on_failure(
                BrokerRefused(
                    f"group {self.group_id!r} has removed this member {EXPULSIONS} times within a minute: another"
                    f" running process probably uses the same group_instance_id {self._group_instance_id!r}"
                )
            )

    # ------------------------------------------------------------------ heartbeats, joins

    async def check_right_to_join_group(self) -> None:
        """Send the heartbeat of an unknown member: a broker checks the right to READ the group before anything else.

        Raises:
            GroupAuthorizationFailedError: the group may not be joined.
            KafkaError: there was no answer.
        """
        node = await self._client.coordinator_lookup(CoordinationType.GROUP, self.group_id)
        answer = await self._client.send(node, HeartbeatRequest(self.group_id, -1, ""))
        if answer.error_code == ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise kafka.GroupAuthorizationFailedError(self.group_id)

    async def _do_heartbeat(self) -> bool:
        """Survive an answer that aiokafka does not know (aiokafka-defects.md#heartbeat-task).

        aiokafka's heartbeat task ends with such an answer: the member is expelled, and every poll raises the same
        error from then on. Joining again either works or reports what is wrong.
        """
        try:
            return bool(await super()._do_heartbeat())
        except kafka.GroupAuthorizationFailedError as error:
            self._on_failure(translate_error(error, f"heartbeat of group {self.group_id!r}"))
        except kafka.KafkaError:
            logger.warning("heartbeat of group %r: %s; joining again", self.group_id, code_name(self._last_code))
            if self._last_code != ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                self.request_rejoin()
        return False

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        """Look up what the group has committed before it joins.

        Later commits are of the new generation. Otherwise two members that start together would take each other's
        first commits for those of an earlier run.
        """
        if not subscription.active:
            return False  # it changed with the revocation: the next round joins with the new one
        if self._looks_up_topics:
            try:
                self.topics_committed_before = frozenset(tp.topic for tp in await self.look_up_committed_offsets(None))
            except kafka.KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(self._retry_backoff_ms / 1000)
                return False
        return bool(await super()._do_rejoin_group(subscription))

    async def leave(self, timeout_s: float) -> None:
        """Leave the group if the coordinator can be reached. A member that just vanishes delays its group by a session.

        A static member does not leave: it comes back.
        """
        if not self.member_id or self.is_static:
            return
        node_id = self.coordinator_id
        if node_id is None or not self._client.is_connected(node_id, ConnectionGroup.COORDINATION):
            return
        request = LeaveGroupRequest(self.group_id, self.member_id)
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.send(node_id, request, group=ConnectionGroup.COORDINATION)
        except (kafka.KafkaError, OSError, TimeoutError) as error:
            logger.debug("could not leave group %r in time: %r", self.group_id, error)

    def tasks(self) -> list[asyncio.Task[Any] | None]:
        """Its background tasks; some do not exist before the first join."""
        names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")
        return [getattr(self, name, None) for name in names]

    def translate_failure(self, error: Exception) -> BrokerError:
        """Translate an error of the coordination."""
        doing = f"membership of group {self.group_id!r}"
        if type(error) is kafka.KafkaError and self._last_code:
            return BrokerError(f"{doing}: {code_name(self._last_code)}")
        return translate_error(error, doing)

    @property
    def has_ended(self) -> bool:
        """Whether the coordination has ended; `check_errors` raises the reason."""
        return bool(self._coordination_task.done())

    def needed_tasks(self) -> Iterator[tuple[str, asyncio.Task[Any] | None]]:
        """The heartbeat task while the membership depends on it; None before and during a join, which ends it.

        aiokafka's heartbeat task swallows a cancellation and returns. Then no heartbeat is sent any more, and the
        coordination loops without a pause (aiokafka-defects.md#ended-tasks).
        """
        joined = self.member_id and not self._performed_join_prepare
        yield "heartbeat", self._heartbeat_task if joined else None

    # ------------------------------------------------------------------ the assignment

    def allow_commits_after_assigned(self) -> None:
        """Allow commits under the assignment that has just been received."""
        received = self._subscription.subscription.assignment
        self.assignment = MemberAssignment(received, self.generation, self.member_id)

    def refuse_commits_after_revoked(self) -> None:
        """Refuse further commits: the partitions have been revoked."""
        self.assignment = None

    def rejoin_if_membership_lost(self, code: int) -> None:
        """Join the group again, as a new member unless this answer says that the group is rebalancing."""
        self.request_rejoin() if code == ErrorCode.REBALANCE_IN_PROGRESS else self.reset_generation()

    def request_new_member_epoch_if_supported(self) -> bool:
        """Return False, and do nothing: the classic protocol has generations instead of epochs."""
        return False

    def is_assignment_current(self, assignment: MemberAssignment) -> bool:
        """Whether this is still the member that received the assignment, and the assignment is still valid."""
        return (
            assignment is self.assignment
            and assignment.generation == self.generation
            and assignment.member_id == self.member_id
            and bool(assignment.partitions.active)
        )

    def member_identity(self, assignment: MemberAssignment) -> MemberIdentity:
        """The member that holds an assignment, as it was when the assignment was received."""
        return MemberIdentity(self.group_id, assignment.generation, assignment.member_id, self._group_instance_id)

    # ------------------------------------------------------------------ offsets

    @property
    def group_epoch(self) -> GroupEpoch | None:
        """The assignment that the member has now; None before the first, and during a rebalance."""
        assignment = self.assignment
        return GroupEpoch("classic", assignment.generation) if assignment is not None else None

    @property
    def is_static(self) -> bool:
        """Whether it has a group_instance_id."""
        return self._group_instance_id is not None

    @property
    def commit_lock(self) -> asyncio.Lock:
        lock: asyncio.Lock = self._commit_lock
        return lock

    @property
    def retry_backoff_s(self) -> float:
        return float(self._retry_backoff_ms / 1000)

    @property
    def session_s(self) -> float:
        return float(self._session_timeout_ms / 1000)

    async def send_unless_check_raises(
        self, request: OffsetCommitWithEpochsRequest, *, check: Callable[[], None]
    ) -> Awaitable[Any]:
        """Send a request to the coordinator; see `Client.send_unless_check_raises`."""
        answering: Awaitable[Any] = await self._client.send_unless_check_raises(
            self.coordinator_id, request, check=check
        )
        return answering

    async def look_up_committed_offsets(
        self, partitions: Collection[ClientPartition] | None
    ) -> dict[ClientPartition, EpochOffset]:
        """The group's committed offsets with their leader epochs, of these partitions or (None) of all.

        Raises:
            KafkaError: any error in the answer.
        """
        if partitions is not None and not partitions:
            return {}
        by_topic: dict[str, list[int]] = {}
        for tp in partitions or ():
            by_topic.setdefault(tp.topic, []).append(tp.partition)
        await self.ensure_coordinator_known()
        answer = await self._send_req(
            StableOffsetFetchRequest(self.group_id, by_topic.items())
            if self._requires_stable and partitions is not None
            else OffsetFetchWithEpochsRequest(self.group_id, None if partitions is None else list(by_topic.items()))
        )
        if getattr(answer, "error_code", 0) == ErrorCode.GROUP_ID_NOT_FOUND:
            return {}  # a group that does not exist has committed nothing
        return read_committed_offsets(answer.topics, partitions, self.looked_up_commits)

    def _handle_metadata_update(self, cluster: Any) -> None:
        if self.assignment is not None and self._have_matching_topics_changed(cluster):
            # aiokafka would drop the assignment here, before it is revoked. Then no commit for it would be accepted any
            # more, and records that are not committed yet would be read again. It is dropped after the revocation
            # instead (aiokafka-defects.md#pattern-changes).
            self.request_rejoin()
        else:
            super()._handle_metadata_update(cluster)
        if self.assignment is not None:
            deleted = self._topics_deleted_since_assignment(self.assignment)
            assigned = self.assignment.partitions.tps
            deleted.update(tp.topic for tp in assigned if not cluster.partitions_for_topic(tp.topic))

    def _have_matching_topics_changed(self, cluster: Any) -> bool:
        """Whether the topics that match the subscription's pattern have changed."""
        subscription = self._subscription
        pattern = subscription.subscribed_pattern
        if pattern is None:
            return False
        topics = cluster.topics(self._exclude_internal_topics)
        return bool({topic for topic in topics if pattern.match(topic)} != subscription.topics)

    async def _on_join_prepare(self, previous_assignment: Any) -> None:
        await super()._on_join_prepare(previous_assignment)
        self._handle_metadata_update(self._cluster)  # postponed until after the revocation

    def _topics_deleted_since_assignment(self, assignment: MemberAssignment) -> set[str]:
        """Topics that were deleted since they were assigned (aiokafka-defects.md#recreated-topics).

        A topic of the same name may exist again by now. An offset of the deleted topic, committed for the new one,
        would skip the new topic's records.
        """
        if self._deleted[0] is not assignment:
            self._deleted = (assignment, set())
        return self._deleted[1]

    async def commit(self, offsets: Mapping[ClientPartition, tuple[int, str]], *, timeout_s: float) -> None:
        """Commit these offsets with their metadata as the current member, or not at all.

        Raises:
            CommitRefused: nothing was written, for at least one of the partitions.
            CommitUnknown: there was no answer in time; it may have been written.
            BrokerUnavailable, BrokerRefused, BrokerError: nothing was written.
        """
        assignment = self._require_assignment_of(offsets)
        deleted = self._topics_deleted_since_assignment(assignment)
        if existing := {tp: offset for tp, offset in offsets.items() if tp.topic not in deleted}:
            await Commit(self, assignment, existing).run(timeout_s)
        self._refuse_commit_of_deleted_topics(assignment, offsets)

    def transaction_offsets(
        self, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> MemberTransactionOffsets[MemberAssignment]:
        """These offsets with their metadata, to be committed in a transaction as the current member.

        Raises:
            CommitRefused: one of the partitions cannot be committed.
        """
        assignment = self._require_assignment_of(offsets)
        self._refuse_commit_of_deleted_topics(assignment, offsets)
        return MemberTransactionOffsets(self, assignment, offsets)

    def _require_assignment_of(self, partitions: Collection[ClientPartition]) -> MemberAssignment:
        """The current assignment, which has these partitions.

        Raises:
            CommitRefused: there is none, or it has not.
        """
        assignment = self.assignment
        if assignment is None or not self.is_assignment_current(assignment):
            raise CommitRefused(
                f"group {self.group_id!r}: a rebalance is in progress; these partitions are no longer assigned to this"
                " member"
            )
        if foreign := [tp for tp in partitions if tp not in assignment.partitions.tps]:
            raise CommitRefused(f"group {self.group_id!r}: not assigned to this member: {format_partitions(foreign)}")
        return assignment

    def _refuse_commit_of_deleted_topics(
        self, assignment: MemberAssignment, partitions: Collection[ClientPartition]
    ) -> None:
        deleted = self._topics_deleted_since_assignment(assignment)
        if refused := [tp for tp in partitions if tp.topic in deleted]:
            raise CommitRefused(f"group {self.group_id!r}: deleted after assignment: {format_partitions(refused)}")

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        """aiokafka's auto commit: refused for an assignment that has ended (aiokafka-defects.md#commit-generation), and
        reported to the listener."""
        if not assignment.active or assignment is not self._subscription.subscription.assignment:
            raise kafka.IllegalGenerationError(self.group_id)
        if not offsets:
            return
        positions, began_s = {tp: one.offset for tp, one in offsets.items()}, self._client.now_s()
        try:
            await super()._do_commit_offsets(assignment, offsets)
        except kafka.KafkaError as error:
            now_s = self._client.now_s()
            if now_s - self._failed_commit_reported_at_s >= FAILED_COMMITS_REPORTED_EVERY_S:
                self._failed_commit_reported_at_s = now_s
                failure = translate_error(error, f"commit of group {self.group_id!r}")
                self._on_positions_commit(positions, now_s - began_s, failure)
            raise
        self._on_positions_commit(positions, self._client.now_s() - began_s, None)

    def _add_leader_epochs_to_commit_request(self, request: OffsetCommitRequest) -> OffsetCommitWithEpochsRequest:
        """This commit request of aiokafka's own, with leader epochs."""
        offsets = {
            ClientPartition(topic, partition): (offset, metadata)
            for topic, rows in request._topics
            for partition, offset, metadata in rows
        }
        return self._build_commit_request(request._consumer_group_generation_id, request._consumer_id, offsets)

    def create_commit_request(
        self, assignment: MemberAssignment, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> OffsetCommitWithEpochsRequest:
        """A commit of offsets with their metadata and the leader epochs of the records before them."""
        return self._build_commit_request(assignment.generation, assignment.member_id, offsets)

    def _build_commit_request(
        self, generation: int, member_id: str, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> OffsetCommitWithEpochsRequest:
        rows = offset_rows_to_commit(offsets, self.epochs)
        return OffsetCommitWithEpochsRequest(self.group_id, generation, member_id, rows)
