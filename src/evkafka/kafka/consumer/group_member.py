"""A member of a group, as its source sees it, whatever the group's protocol is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.runtime.ports import GroupEpoch

if TYPE_CHECKING:
    from evkafka.kafka.producer.transactional_producer import TransactionOffsets


class GroupMember(Protocol):
    """One member of a group."""

    @property
    def looked_up_commits(self) -> Mapping[ClientPartition, tuple[int, str]]:
        """The committed offsets that were last looked up, with their metadata."""

    @property
    def confirmed_at_s(self) -> float:
        """When the group last confirmed this member, at the earliest. If it does not again within a session, it gives
        the partitions to others."""

    @property
    def coordinator_id(self) -> int | None:
        """The node of the group's coordinator; None while it is not known."""

    @property
    def session_s(self) -> float:
        """How long the group waits for a heartbeat before it gives the partitions to others."""

    @property
    def group_epoch(self) -> GroupEpoch | None:
        """The assignment that the member has now; None before the first."""

    async def check_right_to_join_group(self) -> None:
        """Ask whether the group may be joined.

        Raises:
            GroupAuthorizationFailedError: it may not.
            IncompatibleBrokerVersion: the brokers do not have the group's protocol.
            KafkaError: there was no answer.
        """

    def needed_tasks(self) -> Iterable[tuple[str, asyncio.Task[Any] | None]]:
        """The tasks that the membership depends on at this moment, with their names."""

    async def leave(self, timeout_s: float) -> None:
        """Leave the group if the coordinator can be reached; a static member stays in it."""

    async def commit(self, offsets: Mapping[ClientPartition, tuple[int, str]], *, timeout_s: float) -> None:
        """Commit these offsets with their metadata as the current member, or not at all.

        Raises:
            CommitRefused: nothing was written, for at least one of the partitions.
            CommitUnknown: there was no answer in time; it may have been written.
            BrokerUnavailable, BrokerRefused, BrokerError: nothing was written.
        """

    def transaction_offsets(self, offsets: Mapping[ClientPartition, tuple[int, str]]) -> TransactionOffsets:
        """These offsets with their metadata, to be committed in a transaction as the current member.

        Raises:
            CommitRefused: one of the partitions cannot be committed.
        """
