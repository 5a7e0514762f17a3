"""Carries out what `membership.py` decides: partitions are given back, taken over and lost, one change at a time.

What stays is not touched. A partition that is given back is read no more from the beginning of its revocation, and may
be committed until the end of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.client.topic_ids import format_topic_id
from evkafka.kafka.consumer.incremental_assignment import IncrementalAssignmentFetcher
from evkafka.kafka.consumer.member_offsets import MemberOffsets
from evkafka.kafka.consumer.membership import (
    AssignPartitions,
    Membership,
    Partitions,
    RevokePartitions,
    TopicIdPartition,
)
from evkafka.kafka.consumer.topic_names import TopicNames
from evkafka.runtime.leader_epochs import LeaderEpochs

NAMES_RETRY_S = 0.5
"""How long to wait before the name of an assigned topic is looked up again."""

POSITIONS_COMMIT_S = 10.0
"""How long one commit of positions may take."""


class AssignmentListener(Protocol):
    """Is told of the changes. It handles its own errors: no method raises."""

    async def on_assigned(self, assigned: Collection[ClientPartition]) -> None: ...

    async def on_revoked(self, revoked: Collection[ClientPartition]) -> None: ...

    async def on_lost(self, lost: Collection[ClientPartition]) -> None: ...

    def on_positions_commit(
        self, positions: Mapping[ClientPartition, int], duration_s: float, error: BrokerError | None
    ) -> None: ...


class Reconciler:
    """The assignment of one member.

    Args:
        commits_positions: whether positions are committed as they are (at most once with an interval between commits).
        news: called when the coordinator is to be told what has changed.

    Attributes:
        topic_ids: assigned topic -> its id, as text.
    """

    def __init__(
        self,
        membership: Membership,
        offsets: MemberOffsets,
        names: TopicNames,
        listener: AssignmentListener,
        fetcher: IncrementalAssignmentFetcher,
        epochs: LeaderEpochs,
        *,
        commits_positions: bool,
        news: Callable[[], object],
    ) -> None:
        self._membership = membership
        self._offsets = offsets
        self._names = names
        self._listener = listener
        self._fetcher = fetcher
        self._epochs = epochs
        self._commits_positions = commits_positions
        self._news = news
        self._assigned = asyncio.Event()  # there may be something to do
        self._step = asyncio.Lock()  # a loss does not come between the steps that it is held for
        self.changing = asyncio.Lock()
        """Held while a change is carried out."""
        self.topic_ids: dict[str, str] = {}

    def wake(self) -> None:
        """The coordinator has answered: there may be something to do."""
        self._assigned.set()

    async def run(self) -> None:
        """Carry out changes, until it is cancelled."""
        retry_s: float | None = None
        while True:
            try:
                async with asyncio.timeout(retry_s):
                    await self._assigned.wait()
            except TimeoutError:
                pass
            self._assigned.clear()
            while await self._carry_out_next_change():
                pass
            retry_s = await self._look_up_names()

    async def _carry_out_next_change(self) -> bool:
        """Carry out the next change. False if there is none."""
        async with self.changing:
            async with self._step:
                match self._membership.next_change_to_carry_out(self._names):
                    case AssignPartitions(partitions):
                        await self._assign_partitions(partitions)
                        return True
                    case RevokePartitions(partitions):
                        positions = self._fetcher.remove_partitions({self._client_partition(one) for one in partitions})
                    case None:
                        return False
            await self._revoke_partitions(partitions, positions)
            return True

    async def _look_up_names(self) -> float | None:
        """Look up the names of assigned topics that are not known. Returns when to try again, if there are such."""
        unknown = {one.topic_id for one in self._membership.pending_assignment} - self._names.keys()
        if not unknown:
            return None
        await self._names.load_names(unknown, self._membership.topics)
        return 0.0 if unknown & self._names.keys() else NAMES_RETRY_S

    # ------------------------------------------------------------------ taking over

    async def _assign_partitions(self, partitions: Partitions) -> None:
        """The listener comes first: no record is handed out before it has its partition."""
        ids = {self._client_partition(one): one.topic_id for one in partitions}
        self._offsets.allow_commits(ids)
        self.topic_ids.update({tp.topic: format_topic_id(topic_id) for tp, topic_id in ids.items()})
        await self._listener.on_assigned(ids.keys())
        self._membership.note_assignment_carried_out()
        self._fetcher.add_partitions(ids.keys())
        if partitions:
            self._news()

    def _client_partition(self, one: TopicIdPartition) -> ClientPartition:
        return ClientPartition(self._names[one.topic_id], one.partition)

    # ------------------------------------------------------------------ giving back

    async def _revoke_partitions(self, partitions: Partitions, positions: Mapping[ClientPartition, int]) -> None:
        tps = [self._client_partition(one) for one in partitions]
        await self._commit_nothing_of_deleted_topics(partitions)
        if self._commits_positions:
            await self._commit_positions(positions)
        await self._listener.on_revoked(tps)
        self._membership.note_revocation_carried_out()
        self._forget_offsets_epochs_and_ids(tps)
        self._news()

    async def _commit_nothing_of_deleted_topics(self, partitions: Partitions) -> None:
        """If all of a topic is taken away, it may have been deleted, and there may be another one of that name."""
        kept = {one.topic_id for one in self._membership.owned - partitions}
        doubtful = {one.topic_id for one in partitions} - kept
        if not doubtful:
            return
        existing = await self._names.load_names(doubtful, {self._names[topic_id] for topic_id in doubtful})
        if existing is None:
            return
        for one in self._offsets.committable.values():
            one.deleted |= one.topic_id in doubtful and one.topic_id not in existing

    # ------------------------------------------------------------------ losing

    async def lose_all_partitions(self) -> int:
        """All partitions are lost: nothing of them is committed any more. Returns how many there were.

        Ends the wait of a revocation: what it waits for is cancelled.
        """
        async with self._step:
            lost = [self._client_partition(one) for one in self._membership.rejoin_without_partitions()]
            self._fetcher.remove_partitions(lost)
            self._forget_offsets_epochs_and_ids(lost)
            await self._listener.on_lost(lost)
        return len(lost)

    def _forget_offsets_epochs_and_ids(self, tps: Collection[ClientPartition]) -> None:
        self._offsets.refuse_commits(tps)
        for tp in tps:
            self._epochs.forget_partition(tp)
        topics = {tp.topic for tp in self._offsets.committable}
        for topic in {tp.topic for tp in tps} - topics:
            self.topic_ids.pop(topic, None)

    # ------------------------------------------------------------------ positions that are committed as they are

    async def commit_all_positions(self) -> None:
        """At most once: commit the positions of all partitions."""
        await self._commit_positions(self._fetcher.positions())

    async def _commit_positions(self, positions: Mapping[ClientPartition, int]) -> None:
        if not positions:
            return
        loop = asyncio.get_running_loop()
        began_s, failure = loop.time(), None
        try:
            await self._offsets.commit(
                {tp: (position, "") for tp, position in positions.items()}, timeout_s=POSITIONS_COMMIT_S
            )
        except BrokerError as error:
            failure = error
        self._listener.on_positions_commit(positions, loop.time() - began_s, failure)
        if isinstance(failure, BrokerRefused):
            raise failure
