"""One commit of a member's offsets (aiokafka-defects.md#commit-generation, #commit-deadline).

aiokafka checks the assignment when `commit()` is called, but takes generation and member id when it sends; and a commit
whose caller has timed out continues in the background. So a commit that waited through a rebalance is accepted for
partitions that belong to another member by then. Here the request carries the generation and member id of the call, the
assignment is checked again in the step that writes the request, and nothing is sent after the timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from aiokafka import errors as kafka
from aiokafka.protocol.api import Request
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, CommitRefused, CommitUnknown
from evkafka.kafka.client.offset_protocol import MemberIdentity, OffsetRow
from evkafka.kafka.errors import ErrorCode, code_name, describe_cause, translate_error
from evkafka.runtime.leader_epochs import LeaderEpochs
from evkafka.runtime.ports import MetadataTooLarge

MEMBERSHIP_LOST = (
    ErrorCode.FENCED_INSTANCE_ID,
    ErrorCode.ILLEGAL_GENERATION,
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.REBALANCE_IN_PROGRESS,
    ErrorCode.FENCED_MEMBER_EPOCH,
    ErrorCode.STALE_MEMBER_EPOCH,
)
"""Answers to a commit after which the partitions may be another member's."""

NOT_AUTHORIZED = (ErrorCode.GROUP_AUTHORIZATION_FAILED, ErrorCode.TOPIC_AUTHORIZATION_FAILED)

TRANSIENT = (
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.REQUEST_TIMED_OUT,
)
"""Answers to a commit after which it is sent again."""


class MemberAssignment(NamedTuple):
    """An assignment with the generation and member id it was received under. A commit is refused once it has ended."""

    partitions: Any
    generation: int
    member_id: str


A_contra = TypeVar("A_contra", contravariant=True)


class CommittingMember(Protocol[A_contra]):
    """The member that commits, as far as a commit needs it. An assignment is what it commits under."""

    group_id: str
    epochs: LeaderEpochs

    @property
    def is_static(self) -> bool: ...

    @property
    def commit_lock(self) -> asyncio.Lock: ...

    @property
    def retry_backoff_s(self) -> float: ...

    def is_assignment_current(self, assignment: A_contra) -> bool: ...

    def create_commit_request(
        self, assignment: A_contra, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> Request[Any]: ...

    def member_identity(self, assignment: A_contra) -> MemberIdentity: ...

    async def ensure_coordinator_known(self) -> None: ...

    async def send_unless_check_raises(self, request: Any, *, check: Callable[[], None]) -> Awaitable[Any]: ...

    def coordinator_dead(self) -> None: ...

    def request_new_member_epoch_if_supported(self) -> bool: ...

    def rejoin_if_membership_lost(self, code: int) -> None: ...

    def fail_as_fenced(self) -> None: ...


A = TypeVar("A")


class Commit(Generic[A]):
    """One commit of one assignment, with a deadline."""

    def __init__(
        self, member: CommittingMember[A], assignment: A, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> None:
        self._member = member
        self._assignment = assignment
        self._offsets = offsets
        self._unanswered = False
        self._last_error = "no answer in time"

    async def run(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._send_once():  # noqa: ASYNC110  # no event says when to try again
                    await asyncio.sleep(self._member.retry_backoff_s)
        except TimeoutError:
            what = (
                f"committing {format_partitions(self._offsets)} of group {self._member.group_id!r}: {self._last_error}"
            )
            if self._unanswered:
                raise CommitUnknown(f"{what}; it may have been written") from None
            raise BrokerUnavailable(f"{what}; nothing was written") from None

    async def _send_once(self) -> bool:
        """Return True if the offsets are written, False if the commit should be sent again."""
        member = self._member
        self._refuse_if_revoked()
        await member.ensure_coordinator_known()
        async with member.commit_lock:
            try:
                request = member.create_commit_request(self._assignment, self._offsets)
                answering = await member.send_unless_check_raises(request, check=self._refuse_if_revoked)
                self._unanswered = True
                answer = await answering
            except (kafka.KafkaError, OSError, TimeoutError, BrokerUnavailable) as error:
                self._last_error = describe_cause(error)
                member.coordinator_dead()
                return False
        return self._check_answer(answer)

    def _refuse_if_revoked(self) -> None:
        if self._member.is_assignment_current(self._assignment):
            return
        if self._unanswered:
            raise CommitUnknown("the partitions were revoked before the answer arrived; it may have been written")
        raise CommitRefused("the partitions were revoked before the commit was sent; nothing was written")

    def _check_answer(self, answer: Any) -> bool:
        codes = {code for _, rows in answer.topics for _, code in rows if code}
        if not codes:
            return True
        member, code = self._member, min(codes, key=_precedence)
        what = describe_failed_commit(member, self._offsets, code)
        match code:
            case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                self._last_error, self._unanswered = code_name(code), False
                return False
            case ErrorCode.STALE_MEMBER_EPOCH if member.request_new_member_epoch_if_supported():
                # The group has moved on; the same commit is sent with the epoch of the next heartbeat's answer.
                self._last_error, self._unanswered = code_name(code), False
                return False
            case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION | ErrorCode.UNKNOWN_TOPIC_ID:
                # Not tried again: a new topic of this name may exist by then.
                raise CommitRefused(f"{what}: the topic seems to have been deleted; nothing was written")
            case ErrorCode.COORDINATOR_NOT_AVAILABLE | ErrorCode.NOT_COORDINATOR | ErrorCode.REQUEST_TIMED_OUT:
                self._last_error, self._unanswered = code_name(code), code == ErrorCode.REQUEST_TIMED_OUT
                member.coordinator_dead()
                return False
            case _ if code in MEMBERSHIP_LOST:
                raise rejoin_group_and_return_error(member, self._assignment, code, what)
            case ErrorCode.OFFSET_METADATA_TOO_LARGE if any(text for _, text in self._offsets.values()):
                raise MetadataTooLarge(f"{what}; another try needs less metadata")
            case _ if code in NOT_AUTHORIZED:
                raise translate_error(
                    kafka.for_code(code)(self._format_unauthorized_group_or_topics(code)), "committing offsets"
                )
            case _:
                raise BrokerError(f"{what}; nothing was written")

    def _format_unauthorized_group_or_topics(self, code: int) -> str:
        if code == ErrorCode.GROUP_AUTHORIZATION_FAILED:
            return str(self._member.group_id)
        return ", ".join(sorted({tp.topic for tp in self._offsets}))


def rejoin_group_and_return_error(member: CommittingMember[A], assignment: A, code: int, what: str) -> BrokerError:
    """The error for an answer after which the partitions may be another member's. The member joins again."""
    if code == ErrorCode.FENCED_INSTANCE_ID and member.is_static:
        member.fail_as_fenced()
        return BrokerRefused(f"{what}: another process uses this group_instance_id")
    if member.is_assignment_current(assignment):
        # Only while it is still this member: a late answer must not reset a later membership.
        member.rejoin_if_membership_lost(code)
    return CommitRefused(f"{what}: the group has rebalanced, so the partitions may belong to another member")


def describe_failed_commit(member: CommittingMember[Any], partitions: Collection[ClientPartition], code: int) -> str:
    return f"committing {format_partitions(partitions)} of group {member.group_id!r}: {code_name(code)}"


def _precedence(code: int) -> int:
    """Order of precedence if an answer has several codes: a lost membership, a missing right, any other, transient."""
    order = (*MEMBERSHIP_LOST, *NOT_AUTHORIZED)
    return order.index(code) if code in order else len(order) + (code in TRANSIENT)


def offset_rows_to_commit(
    offsets: Mapping[ClientPartition, tuple[int, str]], epochs: LeaderEpochs
) -> list[tuple[str, list[OffsetRow]]]:
    """Offsets with their metadata by topic, with the leader epochs of the records before them."""
    by_topic: dict[str, list[OffsetRow]] = {}
    for tp, (offset, metadata) in offsets.items():
        by_topic.setdefault(tp.topic, []).append((tp.partition, offset, epochs.epoch_before(tp, offset), metadata))
    return list(by_topic.items())


def format_partitions(partitions: Collection[ClientPartition]) -> str:
    names = [f"{topic}[{partition}]" for topic, partition in list(partitions)[:3]]
    more = len(partitions) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
