"""The membership of one consumer in a group of the consumer protocol (KIP-848), as a state machine. Pure: no I/O here.

The brokers assign. Each heartbeat's answer may contain the partitions that this member may have; the member gives back
what is not among them, then reports what it still has, and only then do the brokers give it to somebody else.

    state          means                                            next heartbeat
    JOINING        the group does not know this member (any more)   now: epoch 0, everything
    RECONCILING    gives partitions back, or takes them over        each interval; now, when one of these has ended
    STEADY         has what the brokers have assigned               each interval; sooner while the group changes
    LEAVING        has left                                         none

    answer                         state it leads to            partitions
    no error                       RECONCILING or STEADY        `next_change_to_carry_out` says what to give and take
    coordinator away or moved      as before                    kept; the next heartbeat repeats everything
    no answer for a session        JOINING                      all lost: the group has given them to others
    fenced, unknown member         JOINING                      all lost
    instance id still in use       JOINING                      none yet; tried again for a session
    any other error                the source fails
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from evkafka.kafka.client.group_protocol import JOIN, LEAVE, LEAVE_AND_RETURN
from evkafka.kafka.errors import ErrorCode

MAX_RETRY_S = 1.0
"""The longest pause between two heartbeats that failed."""

EAGER_S = 0.5
"""The longest pause between two heartbeats while the group changes: what others give back is taken that much sooner.
The brokers' interval (`group.consumer.heartbeat.interval.ms`) is five seconds by default."""

EAGER_INTERVALS = 2
"""For how many of the brokers' intervals the group may be changing: within one the others hear of it, and give back."""

RELEASE_SLACK_S = 5.0
"""How much longer than a session a static member waits until its instance id is released."""


class TopicIdPartition(NamedTuple):
    """A partition of one topic: another topic of the same name has another id."""

    topic_id: uuid.UUID
    partition: int


Partitions = frozenset[TopicIdPartition]
NONE: Partitions = frozenset()


class State(Enum):
    JOINING = auto()
    RECONCILING = auto()
    STEADY = auto()
    LEAVING = auto()


# ---------------------------------------------------------------------------- what goes in


@dataclass(frozen=True, slots=True)
class Answer:
    """The coordinator's answer to a heartbeat.

    Attributes:
        interval_s: when to send the next heartbeat.
        assigned: all partitions that the member may have; None: as in the answer before.
    """

    code: int
    epoch: int = 0
    interval_s: float = 0.0
    assigned: Partitions | None = None


# ---------------------------------------------------------------------------- what comes out


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat says. None: as in the heartbeat before.

    Attributes:
        is_full: it repeats everything that the coordinator knows of the member.
        owned: the partitions that the member has, also those that it is giving back.
    """

    epoch: int
    is_full: bool = False
    topics: frozenset[str] | None = None
    owned: Partitions | None = None


class AnswerKind(Enum):
    """What an answer means."""

    ACCEPTED = auto()
    RETRY = auto()
    FIND_COORDINATOR = auto()
    FENCED = auto()
    """All partitions are lost, and the member joins again."""
    UNRELEASED = auto()
    """Another process has the member's instance id, or has ended without leaving."""
    REFUSED = auto()
    """Waiting cannot help."""
    FAILED = auto()
    """An error that this module does not know."""


KIND_BY_CODE: Mapping[int, AnswerKind] = {
    0: AnswerKind.ACCEPTED,
    ErrorCode.UNKNOWN_SERVER_ERROR: AnswerKind.RETRY,
    ErrorCode.REQUEST_TIMED_OUT: AnswerKind.RETRY,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: AnswerKind.RETRY,
    ErrorCode.THROTTLING_QUOTA_EXCEEDED: AnswerKind.RETRY,
    ErrorCode.COORDINATOR_NOT_AVAILABLE: AnswerKind.FIND_COORDINATOR,
    ErrorCode.NOT_COORDINATOR: AnswerKind.FIND_COORDINATOR,
    ErrorCode.UNKNOWN_MEMBER_ID: AnswerKind.FENCED,
    ErrorCode.FENCED_MEMBER_EPOCH: AnswerKind.FENCED,
    ErrorCode.UNRELEASED_INSTANCE_ID: AnswerKind.UNRELEASED,
    ErrorCode.FENCED_INSTANCE_ID: AnswerKind.REFUSED,
    ErrorCode.INCONSISTENT_GROUP_PROTOCOL: AnswerKind.REFUSED,
    ErrorCode.INVALID_GROUP_ID: AnswerKind.REFUSED,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: AnswerKind.REFUSED,
    ErrorCode.GROUP_AUTHORIZATION_FAILED: AnswerKind.REFUSED,
    ErrorCode.UNSUPPORTED_VERSION: AnswerKind.REFUSED,
    ErrorCode.INVALID_REQUEST: AnswerKind.REFUSED,
    ErrorCode.GROUP_ID_NOT_FOUND: AnswerKind.REFUSED,
    ErrorCode.GROUP_MAX_SIZE_REACHED: AnswerKind.REFUSED,
    ErrorCode.UNSUPPORTED_ASSIGNOR: AnswerKind.REFUSED,
    ErrorCode.INVALID_REGULAR_EXPRESSION: AnswerKind.REFUSED,
}


@dataclass(frozen=True, slots=True)
class RevokePartitions:
    """These partitions are drained, committed and given back; then `note_revocation_carried_out` is called."""

    partitions: Partitions


@dataclass(frozen=True, slots=True)
class AssignPartitions:
    """These partitions are taken over; then `note_assignment_carried_out` is called. Empty if the change adds none."""

    partitions: Partitions


# ---------------------------------------------------------------------------- the machine


class Membership:
    """One member. Times are those of one clock, in seconds.

    Args:
        topics: the names that the member subscribes to. It joins as soon as there is one.
        session_s: how long the group waits for a heartbeat before it gives the partitions to others.
        retry_s: the pause after a heartbeat that failed; it doubles with each further one.

    Attributes:
        member_id: chosen here, and kept.
        topics: the names that the member subscribes to.
        has_joined: a heartbeat was sent, so the group may know the member.
        epoch: of the last answer.
        owned: the partitions that the member has, also those that it is giving back.
        session_s: may be corrected when the group's own setting is known.
        accepted_s: when the last heartbeat was sent that was accepted.
        next_heartbeat_at_s: when the next heartbeat is to be sent; minus infinity for now, infinity for never.
    """

    def __init__(self, topics: Iterable[str], *, session_s: float, retry_s: float, now_s: float) -> None:
        self.member_id = str(uuid.uuid4())
        self.topics = frozenset(topics)
        self.has_joined = False
        self.epoch = JOIN
        self.owned: Partitions = NONE
        self.session_s = session_s
        self._retry_s = retry_s
        self._target: Partitions = NONE
        self._revoking: Partitions = NONE
        self._assigning: Partitions = NONE
        self._change_is_open = False  # a change has begun, and its end was not reported to the listener yet
        self._is_left = False
        # What the coordinator knows, if the last heartbeat was answered.
        self._told_topics: frozenset[str] | None = None
        self._told_owned: Partitions | None = None
        self._is_acknowledged = True  # it knows that the present target is carried out
        # What the heartbeat says that is in flight.
        self._topics_in_flight = self.topics
        self._owned_in_flight = self.owned
        self._acknowledges = False
        self._sent_s = self.accepted_s = now_s
        self._failures = 0
        self._eager_until_s = now_s  # until then others may be giving partitions back
        self._unreleased_since_s: float | None = None
        self._next_s = now_s

    @property
    def state(self) -> State:
        if self._is_left:
            return State.LEAVING
        if self.epoch == JOIN:
            return State.JOINING
        is_changing = self._revoking or self._assigning or self._target != self.owned
        return State.RECONCILING if is_changing else State.STEADY

    # ------------------------------------------------------------------ heartbeats

    @property
    def next_heartbeat_at_s(self) -> float:
        if self._is_left or (self.epoch == JOIN and not self.topics):
            return math.inf
        # With news it is due at once: others wait for what was given back. Not while the last one is in flight or has
        # failed: what the coordinator knows is unknown then.
        is_known = self._told_topics is not None
        return -math.inf if is_known and (self._told_topics != self.topics or self._reports_owned) else self._next_s

    @property
    def _reports_owned(self) -> bool:
        """Whether the next heartbeat says what the member has. It does so after each change of the target, even if the
        member has the same as before: what was taken and given back between two heartbeats was never reported."""
        is_carried_out = not self._revoking and not self._assigning and self.owned <= self._target
        return self.owned != self._told_owned or (is_carried_out and not self._is_acknowledged)

    @property
    def expires_at_s(self) -> float:
        """When the group gives the partitions to others, unless a heartbeat is answered before."""
        return self.accepted_s + self.session_s if self.epoch != JOIN else math.inf

    def create_next_heartbeat(self, now_s: float) -> Heartbeat:
        """The next heartbeat. `on_answer` or `schedule_heartbeat_retry` follows."""
        beat = Heartbeat(
            self.epoch,
            is_full=self._told_topics is None,
            topics=self.topics if self.topics != self._told_topics else None,
            owned=self.owned if self._reports_owned else None,
        )
        self._acknowledges = beat.owned is not None and beat.owned <= self._target
        self._topics_in_flight, self._owned_in_flight, self._sent_s = self.topics, self.owned, now_s
        self.has_joined = True
        # Until the answer has come it is unknown what the coordinator knows.
        self._told_topics = self._told_owned = None
        return beat

    def on_answer(self, answer: Answer, now_s: float) -> AnswerKind:
        """The answer to the last heartbeat. After FENCED, `rejoin_without_partitions` is to be called."""
        answer_kind = KIND_BY_CODE.get(answer.code, AnswerKind.FAILED)
        if answer.code == ErrorCode.GROUP_ID_NOT_FOUND and self.epoch != JOIN:
            answer_kind = AnswerKind.FENCED  # the group was deleted, and the member with it
        if answer_kind is not AnswerKind.UNRELEASED:
            self._unreleased_since_s = None
        match answer_kind:
            case AnswerKind.ACCEPTED:
                self._apply_answer(answer, now_s)
            case AnswerKind.UNRELEASED:
                return self._on_unreleased_instance_id(now_s)
            case AnswerKind.RETRY | AnswerKind.FIND_COORDINATOR | AnswerKind.FENCED:
                self.schedule_heartbeat_retry(now_s)
            case AnswerKind.REFUSED | AnswerKind.FAILED:
                pass
        return answer_kind

    def schedule_heartbeat_retry(self, now_s: float) -> None:
        """The last heartbeat has no answer, or one that says nothing. The next one repeats everything."""
        self._next_s = now_s + min(self._retry_s * 2**self._failures, max(MAX_RETRY_S, self._retry_s))
        self._failures = min(self._failures + 1, 10)

    def _apply_answer(self, answer: Answer, now_s: float) -> None:
        self._failures = 0
        self._told_topics, self._told_owned = self._topics_in_flight, self._owned_in_flight
        self.accepted_s = self._sent_s
        if self.epoch == JOIN:
            self._change_is_open = True
        if answer.epoch != self.epoch:
            self._eager_until_s = now_s + EAGER_INTERVALS * answer.interval_s
        self.epoch = answer.epoch
        self._is_acknowledged |= self._acknowledges
        if answer.assigned is not None and answer.assigned != self._target:
            self._target = answer.assigned
            self._is_acknowledged = False
        is_eager = now_s < self._eager_until_s
        self._next_s = now_s + (min(EAGER_S, answer.interval_s) if is_eager else answer.interval_s)

    def _on_unreleased_instance_id(self, now_s: float) -> AnswerKind:
        if self._unreleased_since_s is None:
            self._unreleased_since_s = now_s
        if now_s - self._unreleased_since_s > self.session_s + RELEASE_SLACK_S:
            return AnswerKind.REFUSED
        self._next_s = now_s + MAX_RETRY_S
        return AnswerKind.UNRELEASED

    def schedule_heartbeat_now(self, now_s: float) -> None:
        """Make the next heartbeat due now: an answer has shown that the epoch is old."""
        self._next_s = min(self._next_s, now_s)

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to other topics."""
        self.topics = frozenset(topics)

    # ------------------------------------------------------------------ partitions

    @property
    def pending_assignment(self) -> Partitions:
        """Assigned, and not taken over yet."""
        return self._target - self.owned - self._assigning

    def next_change_to_carry_out(self, known: Collection[uuid.UUID]) -> RevokePartitions | AssignPartitions | None:
        """What to do now; None while there is nothing to do. One change at a time.

        Args:
            known: the topic ids whose names are known; partitions of others are taken later.
        """
        if self._revoking or self._assigning:
            return None
        if give_back := self.owned - self._target:
            self._revoking = give_back
            return RevokePartitions(give_back)
        if take := frozenset(one for one in self.pending_assignment if one.topic_id in known):
            self._assigning = take
            self._change_is_open = False
            return AssignPartitions(take)
        if self._change_is_open and not self.pending_assignment:
            self._change_is_open = False
            return AssignPartitions(NONE)
        return None

    def note_assignment_carried_out(self) -> None:
        """The partitions of the last `AssignPartitions` are this member's now."""
        self.owned |= self._assigning
        self._assigning = NONE

    def note_revocation_carried_out(self) -> None:
        """The partitions of the last `RevokePartitions` are given back; others get them after the next heartbeat."""
        if self._revoking:  # otherwise they were lost meanwhile
            self.owned -= self._revoking
            self._revoking = NONE
            self._change_is_open = True

    def rejoin_without_partitions(self) -> Partitions:
        """The group does not know this member any more: it joins again. Returns the partitions that are lost."""
        lost = self.owned | self._assigning
        self.epoch = JOIN
        self.owned = self._target = self._revoking = self._assigning = NONE
        self._told_topics = self._told_owned = None
        self._change_is_open = False
        return lost

    def begin_leaving(self, *, is_static: bool) -> Heartbeat | None:
        """The last heartbeat; None if there was no first one. The group keeps a static member's partitions for a
        session."""
        was_left, self._is_left = self._is_left, True
        return Heartbeat(LEAVE_AND_RETURN if is_static else LEAVE) if self.has_joined and not was_left else None
