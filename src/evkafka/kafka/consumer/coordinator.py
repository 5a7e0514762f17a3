"""Membership of a group, contained: who we are, until when, and what may be committed in that capacity."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.client import CoordinationType
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, CommitRefused, CommitUnknown
from evkafka.kafka.client.protocol import EpochCommitRequest, EpochOffsetFetchRequest, StaticHeartbeatRequest
from evkafka.kafka.consumer.leader_epochs import Place
from evkafka.kafka.errors import FENCED_INSTANCE_ID, cause, code_name, translate
from evkafka.runtime.leader_epochs import UNKNOWN, LeaderEpochs

logger = logging.getLogger("evkafka.runtime.kafka")

UNKNOWN_MEMBER_ID = 25
GROUP_ID_NOT_FOUND = 69
OFFSET_METADATA_TOO_LARGE = 12
LONGEST_METADATA = 2**15 - 1  # of a string, in the protocol
FLAPS, FLAPS_WITHIN_S = 5, 60.0


class HeldAssignment(NamedTuple):
    """An assignment, and who we were when we got it. What is committed under it is refused once it has ended."""

    assignment: Any
    generation: int
    member_id: str


class Member(GroupCoordinator):
    """aiokafka's GroupCoordinator, contained.

    Args:
        remembers: look up before each join what the group had committed until then.
        epochs: the leader epochs of what was read: they are committed with the offsets.
        on_failure: told what ends this source's life.

    Attributes:
        hold: the assignment that may be committed under; None before the first and after each revocation.
        topics_before: topics of which the group had committed offsets before it joined this time.
        metadata: what was committed beside the offsets that were last looked up.
        longest_metadata: the longest that may be committed, as far as brokers have said.
    """

    hold: HeldAssignment | None = None

    def __init__(
        self,
        client: Any,
        subscription: Any,
        *,
        remembers: bool,
        epochs: LeaderEpochs,
        on_failure: Callable[[BrokerError], object],
        **options: Any,
    ) -> None:
        super().__init__(client, subscription, **options)
        self._remembers = remembers
        self._epochs = epochs
        self._on_failure = on_failure
        self._flaps: deque[float] = deque(maxlen=FLAPS)
        self._last_code = 0
        self._gone: tuple[HeldAssignment | None, set[str]] = (None, set())
        self.topics_before: frozenset[str] = frozenset()
        self.metadata: dict[ClientPartition, str] = {}
        self.longest_metadata = LONGEST_METADATA
        self.heard_at_s = client._loop.time()

    # ------------------------------------------------------------------ answers

    async def _send_req(self, request: Any) -> Any:
        if isinstance(request, HeartbeatRequest) and self._group_instance_id is not None:
            # aiokafka's heartbeat does not say which static member it is, so nobody is ever fenced.
            request = StaticHeartbeatRequest(self.group_id, self.generation, self.member_id, self._group_instance_id)
        elif isinstance(request, OffsetCommitRequest):
            request = self._with_epochs(request)
        answer = await super()._send_req(request)
        self.heard_at_s = self._client._loop.time()
        self._last_code = code = getattr(answer, "error_code", 0)
        if code == FENCED_INSTANCE_ID:
            self.fenced()
        elif code == UNKNOWN_MEMBER_ID and self._group_instance_id is not None:
            self._flapped()
        elif code not in (0, GROUP_ID_NOT_FOUND) and isinstance(request, EpochOffsetFetchRequest):
            # (i) The answer's own error: aiokafka does not look at it, and takes the empty answer for "no commit".
            error = kafka.for_code(code)(self.group_id)
            if isinstance(error, kafka.NotCoordinatorForGroupError):
                self.coordinator_dead()
            raise error
        return answer

    def fenced(self) -> None:
        if self._group_instance_id is None:
            self.reset_generation()  # nobody can have taken an id that this member has not: it joins as a new member
            return
        self._on_failure(
            BrokerRefused(
                f"group {self.group_id!r} has fenced this member: another running process joined with the same"
                f" group_instance_id {self._group_instance_id!r}; every process needs one of its own"
            )
        )

    def _flapped(self) -> None:
        """(l) Two members with one instance id throw each other out with every heartbeat, for ever, without an error.

        Brokers before 2.3 and clients that do not fence show it in this way only.
        """
        now_s = self._client._loop.time()
        self._flaps.append(now_s)
        if len(self._flaps) == FLAPS and now_s - self._flaps[0] < FLAPS_WITHIN_S:
            self._on_failure(
                BrokerRefused(
                    f"group {self.group_id!r} has thrown this member out {FLAPS} times within a minute: most likely"
                    f" another running process uses the same group_instance_id {self._group_instance_id!r}"
                )
            )

    # ------------------------------------------------------------------ heartbeats, joins

    async def may_join(self) -> None:
        """A heartbeat of a member that nobody knows: who may not read the group is told so before anything else.

        Raises:
            GroupAuthorizationFailedError: it may not be joined.
            KafkaError: that cannot be asked now.
        """
        node = await self._client.coordinator_lookup(CoordinationType.GROUP, self.group_id)
        answer = await self._client.send(node, HeartbeatRequest(self.group_id, -1, ""))
        if answer.error_code == kafka.GroupAuthorizationFailedError.errno:
            raise kafka.GroupAuthorizationFailedError(self.group_id)

    async def _do_heartbeat(self) -> bool:
        """(k) An answer that aiokafka does not know ends its heartbeat task: the member is expelled, and every poll
        raises the same error for ever. Joining again repairs what can be repaired, or says what cannot."""
        try:
            return bool(await super()._do_heartbeat())
        except kafka.GroupAuthorizationFailedError as error:
            self._on_failure(translate(error, f"heartbeat of group {self.group_id!r}"))
        except kafka.KafkaError:
            logger.warning("heartbeat of group %r: %s; joining again", self.group_id, code_name(self._last_code))
            if self._last_code != kafka.GroupLoadInProgressError.errno:
                self.request_rejoin()
        return False

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        """Before a join, look at what the group has committed: what is committed later is of the new generation,
        so that two members who start together do not take each other's first commits for an older life."""
        if not subscription.active:
            return False  # it changed with the revoke: the next round joins with the new one
        if self._remembers:
            try:
                self.topics_before = frozenset(tp.topic for tp in await self.committed(None))
            except kafka.KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(self._retry_backoff_ms / 1000)
                return False
        return bool(await super()._do_rejoin_group(subscription))

    def failure(self, error: Exception) -> BrokerError:
        """An error out of the coordination, in our words."""
        doing = f"membership of group {self.group_id!r}"
        if type(error) is kafka.KafkaError and self._last_code:
            return BrokerError(f"{doing}: {code_name(self._last_code)}")
        return translate(error, doing)

    @property
    def dead(self) -> bool:
        """Nobody looks after this membership any more; `check_errors` says why."""
        return bool(self._coordination_task.done())

    @property
    def needed_heartbeat(self) -> asyncio.Task[Any] | None:
        """The heartbeat task, while this membership stands on it. None before and during a join, which ends it.

        (k) aiokafka's own swallows a cancellation and returns: no heartbeat is sent any more, and the coordination
        turns round it without a pause.
        """
        joined = self.member_id and not self._performed_join_prepare
        return self._heartbeat_task if joined else None

    def is_current(self, hold: HeldAssignment) -> bool:
        """Whether we are still the member that got this assignment, and still have it."""
        return (
            hold is self.hold
            and hold.generation == self.generation
            and hold.member_id == self.member_id
            and bool(hold.assignment.active)
        )

    # ------------------------------------------------------------------ offsets

    async def committed(self, partitions: Collection[ClientPartition] | None) -> dict[ClientPartition, Place]:
        """The group's committed offsets of these partitions, or of all, each with its leader epoch; those without one
        are left out.

        Raises:
            KafkaError: whatever else the answer says. Nothing but "-1" counts as "no commit".
        """
        if partitions is not None and not partitions:
            return {}
        by_topic: dict[str, list[int]] = {}
        for tp in partitions or ():
            by_topic.setdefault(tp.topic, []).append(tp.partition)
        await self.ensure_coordinator_known()
        answer = await self._send_req(
            EpochOffsetFetchRequest(self.group_id, None if partitions is None else list(by_topic.items()))
        )
        if getattr(answer, "error_code", 0) == GROUP_ID_NOT_FOUND:
            return {}  # a group that is not there has committed nothing
        found: dict[ClientPartition, Place] = {}
        for topic, rows in answer.topics:
            for partition, offset, *epoch, metadata, code in rows:
                if code:
                    raise kafka.for_code(code)(topic)
                self.metadata[ClientPartition(topic, partition)] = metadata or ""
                found[ClientPartition(topic, partition)] = Place(offset, *(epoch or (UNKNOWN,)))
        if partitions is not None and (missing := set(partitions) - set(found)):
            raise kafka.KafkaProtocolError(f"the answer leaves out {sorted(missing)}")
        return {tp: place for tp, place in found.items() if place.offset >= 0}

    def _handle_metadata_update(self, cluster: Any) -> None:
        if self.hold is not None and self._matches_other_topics(cluster):
            # aiokafka would drop the assignment in this step, before it is revoked: no commit for it would be legal any
            # more, and all that is not committed yet would be read again. It is dropped when the revoke is over.
            self.request_rejoin()
        else:
            super()._handle_metadata_update(cluster)
        if self.hold is not None:
            gone = self._gone_under(self.hold)
            gone.update(tp.topic for tp in self.hold.assignment.tps if not cluster.partitions_for_topic(tp.topic))

    def _matches_other_topics(self, cluster: Any) -> bool:
        """Whether a subscription by pattern has to change."""
        subscription = self._subscription
        pattern = subscription.subscribed_pattern
        if pattern is None:
            return False
        topics = cluster.topics(self._exclude_internal_topics)
        return bool({topic for topic in topics if pattern.match(topic)} != subscription.topics)

    async def _on_join_prepare(self, previous_assignment: Any) -> None:
        await super()._on_join_prepare(previous_assignment)
        self._handle_metadata_update(self._cluster)  # what was put off until here

    def _gone_under(self, hold: HeldAssignment) -> set[str]:
        """Topics that were deleted since they were assigned. One of the same name may be there again by now, and what
        is done of the first says nothing about the second: such a commit would skip the second one's records."""
        if self._gone[0] is not hold:
            self._gone = (hold, set())
        return self._gone[1]

    async def commit(self, offsets: Mapping[ClientPartition, tuple[int, str]], *, timeout_s: float) -> None:
        """Commit these offsets, with their metadata, as the member that we are now, or not at all."""
        hold = self.hold
        if hold is None or not self.is_current(hold):
            raise CommitRefused(f"group {self.group_id!r}: a rebalance is under way, these partitions are not ours now")
        if strange := [tp for tp in offsets if tp not in hold.assignment.tps]:
            raise CommitRefused(f"group {self.group_id!r}: not assigned to this member: {_named(strange)}")
        gone = self._gone_under(hold)
        if left := {tp: told for tp, told in offsets.items() if tp.topic not in gone}:
            await Commit(self, hold, left).run(timeout_s)
        if deleted := [tp for tp in offsets if tp.topic in gone]:
            raise CommitRefused(f"group {self.group_id!r}: deleted since it was assigned: {_named(deleted)}")

    def metadata_refused(self, length: int) -> None:
        """What is kept beside offsets must not keep offsets from being committed: from now on it is left out."""
        if self.longest_metadata == LONGEST_METADATA:
            logger.warning(
                "group %r: the brokers do not take %d bytes of metadata beside an offset (%s): offsets are committed"
                " without it. It holds what dead_letter_limit has counted, which begins again with each restart and"
                " rebalance; raise offset.metadata.max.bytes of the brokers (4096 by default)",
                self.group_id,
                length,
                code_name(OFFSET_METADATA_TOO_LARGE),
            )
        self.longest_metadata = min(self.longest_metadata, length - 1)

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        """(a) The client's own auto commit: never for an assignment that has ended."""
        if not assignment.active or assignment is not self._subscription.subscription.assignment:
            raise kafka.IllegalGenerationError(self.group_id)
        await super()._do_commit_offsets(assignment, offsets)

    def _with_epochs(self, request: OffsetCommitRequest) -> EpochCommitRequest:
        """The client's own commit: it knows of no epochs."""
        offsets = {
            ClientPartition(topic, partition): (offset, metadata)
            for topic, rows in request._topics
            for partition, offset, metadata in rows
        }
        return self.commit_request(request._consumer_group_generation_id, request._consumer_id, offsets)

    def commit_request(
        self, generation: int, member_id: str, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> EpochCommitRequest:
        """As this member, a commit of offsets with their metadata and the leader epochs of the records before them."""
        by_topic: dict[str, list[tuple[int, int, int, str]]] = {}
        for tp, (offset, metadata) in offsets.items():
            epoch = self._epochs.before(tp, offset)
            by_topic.setdefault(tp.topic, []).append((tp.partition, offset, epoch, metadata))
        return EpochCommitRequest(self.group_id, generation, member_id, list(by_topic.items()))


class Commit:
    """(a) One commit. aiokafka looks at the assignment when it is called, and takes generation and member when it
    sends; and a commit that was given up goes on in the background. So one that waited through a rebalance was
    accepted for partitions that were another's by then. Here the request carries who we were at the call, we look
    again in the step that writes it, and one that is given up is not sent any more."""

    def __init__(
        self, member: Member, hold: HeldAssignment, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> None:
        self._member = member
        self._hold = hold
        self._offsets = offsets
        self._unanswered = False
        self._trouble = "no answer in time"
        self._prepare()

    def _prepare(self) -> None:
        longest = self._member.longest_metadata
        self._sent = {
            tp: (offset, told if len(told) <= longest else "") for tp, (offset, told) in self._offsets.items()
        }
        self._request = self._member.commit_request(self._hold.generation, self._hold.member_id, self._sent)

    async def run(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._attempt():  # noqa: ASYNC110  # no event says when it is worth another try
                    await asyncio.sleep(self._member._retry_backoff_ms / 1000)
        except TimeoutError:
            what = f"committing {_named(self._offsets)} of group {self._member.group_id!r}: {self._trouble}"
            if self._unanswered:
                raise CommitUnknown(f"{what}; it may have been written") from None
            raise BrokerUnavailable(f"{what}; nothing was written") from None

    async def _attempt(self) -> bool:
        """True when it is written, False where it is worth another attempt."""
        member = self._member
        self._still_ours()
        await member.ensure_coordinator_known()
        async with member._commit_lock:
            try:
                if member.coordinator_id is None:
                    raise kafka.GroupCoordinatorNotAvailableError
                answering = await member._client.write(member.coordinator_id, self._request, still=self._still_ours)
                self._unanswered = True
                answer = await answering
            except (kafka.KafkaError, OSError, TimeoutError, BrokerUnavailable) as error:
                self._trouble = cause(error)
                member.coordinator_dead()
                return False
        return self._written(answer)

    def _still_ours(self) -> None:
        if self._member.is_current(self._hold):
            return
        if self._unanswered:
            raise CommitUnknown("the partitions were revoked before an answer came; it may have been written")
        raise CommitRefused("the partitions were revoked before the commit was sent; nothing was written")

    def _written(self, answer: Any) -> bool:
        codes = {code for _, rows in answer.topics for _, code in rows if code}
        if not codes:
            return True
        member, code = self._member, min(codes, key=_rank)
        what = f"committing {_named(self._offsets)} of group {member.group_id!r}: {code_name(code)}"
        match code:
            case 14:  # loading: it passes
                self._trouble, self._unanswered = code_name(code), False
                return False
            case 3:  # not tried again: the next topic of this name may be there by then
                raise CommitRefused(f"{what}: deleted, it seems; nothing was written")
            case 15 | 16 | 7:  # the coordinator is elsewhere, or its own write timed out
                self._trouble, self._unanswered = code_name(code), code == 7
                member.coordinator_dead()
                return False
            case 82 if member._group_instance_id is not None:
                member.fenced()
                raise BrokerRefused(f"{what}: another process has this group_instance_id")
            case 22 | 25 | 27 | 82 | 110 | 113:
                if member.is_current(self._hold):
                    # Only while we still are that member: a late answer must not reset the membership after it.
                    member.request_rejoin() if code == 27 else member.reset_generation()
                raise CommitRefused(f"{what}: the group has rebalanced, the partitions may be another member's")
            case 12 if length := self._shortest_refused(answer):
                self._trouble = code_name(code)
                member.metadata_refused(length)
                self._prepare()
                return False
            case 29 | 30:
                raise translate(kafka.for_code(code)(self._subject(code)), "committing offsets")
            case _:
                raise BrokerError(f"{what}; nothing was written")

    def _shortest_refused(self, answer: Any) -> int:
        """The length of the shortest metadata that is said to be too large; 0 where a partition had none."""
        return min(
            len(self._sent[ClientPartition(topic, partition)][1])
            for topic, rows in answer.topics
            for partition, code in rows
            if code == OFFSET_METADATA_TOO_LARGE
        )

    def _subject(self, code: int) -> str:
        if code == kafka.GroupAuthorizationFailedError.errno:
            return str(self._member.group_id)
        return ", ".join(sorted({tp.topic for tp in self._offsets}))


def _rank(code: int) -> int:
    """Of several codes in one answer, which decides: those that end the membership, then those that refuse."""
    order = (82, 22, 25, 27, 110, 113, 30, 29)
    return order.index(code) if code in order else len(order) + (code in (14, 15, 16, 7))


def _named(partitions: Collection[ClientPartition]) -> str:
    names = [f"{topic}[{partition}]" for topic, partition in list(partitions)[:3]]
    more = len(partitions) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
