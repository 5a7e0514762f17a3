"""The offsets that a member of a group commits in a transaction (KIP-447).

The request names the member and the generation, or member epoch, that it holds the partitions under. A member that the
group has removed cannot commit, however late its request is, and its client may have forgotten by then that it was one:
a generation of -1 would be accepted from anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError, CommitRefused
from evkafka.kafka.client.transaction_protocol import MemberTxnOffsetCommitRequest, ProducerId
from evkafka.kafka.consumer.commit import (
    CommittingMember,
    describe_failed_commit,
    offset_rows_to_commit,
    rejoin_group_and_return_error,
)
from evkafka.kafka.errors import ErrorCode

A = TypeVar("A")

OLD_EPOCH = (ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.ILLEGAL_GENERATION)
"""Answers for an epoch that is not the present one. In a transaction, brokers say ILLEGAL_GENERATION with either
protocol."""


class MemberTransactionOffsets(Generic[A]):
    """Offsets of one assignment."""

    def __init__(
        self, member: CommittingMember[A], assignment: A, offsets: Mapping[ClientPartition, tuple[int, str]]
    ) -> None:
        self._member = member
        self._assignment = assignment
        self._offsets = offsets

    @property
    def group_id(self) -> str:
        return self._member.group_id

    def create_commit_request(self, transactional_id: str, producer: ProducerId) -> MemberTxnOffsetCommitRequest:
        member = self._member
        if not member.is_assignment_current(self._assignment):
            raise CommitRefused("the partitions were revoked before the transaction was committed; nothing was written")
        identity, rows = member.member_identity(self._assignment), offset_rows_to_commit(self._offsets, member.epochs)
        return MemberTxnOffsetCommitRequest(transactional_id, producer, identity, rows)

    def request_new_member_epoch_if_old(self, code: int) -> bool:
        return (
            code in OLD_EPOCH
            and self._member.is_assignment_current(self._assignment)
            and self._member.request_new_member_epoch_if_supported()
        )

    def rejoin_group_and_return_error(self, code: int) -> BrokerError:
        return rejoin_group_and_return_error(
            self._member, self._assignment, code, describe_failed_commit(self._member, self._offsets, code)
        )
