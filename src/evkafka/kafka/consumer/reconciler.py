"""Carries out what `membership.py` decides: partitions are given back, taken over and lost, one change at a time.

What stays is not touched. A partition that is given back is read no more from the beginning of its revocation, and may
be committed until the end of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.client.topic_ids import format_topic_id
from evkafka.kafka.consumer.incremental import IncrementalFetcher
from evkafka.kafka.consumer.member_offsets import MemberOffsets
from evkafka.kafka.consumer.membership import GiveBack, Membership, Partitions, Take, TopicIdPartition
from evkafka.kafka.consumer.topic_names import TopicNames
from evkafka.runtime.leader_epochs import LeaderEpochs

logger = logging.getLogger("evkafka.runtime.kafka")

NAMES_RETRY_S = 0.5
"""How long to wait before the name of an assigned topic is looked up again."""

POSITIONS_COMMIT_S = 10.0
"""How long one commit of positions may take."""


class AssignmentListener(Protocol):
    """What is told of the changes. It contains its own errors."""

    async def add(self, assigned: Collection[ClientPartition]) -> None: ...

    async def give_back(self, revoked: Collection[ClientPartition]) -> None: ...

    async def lose(self, lost: Collection[ClientPartition]) -> None: ...


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
        fetcher: IncrementalFetcher,
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

    def look_again(self) -> None:
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
            while await self._change():
                pass
            retry_s = await self._look_up_names()

    async def _change(self) -> bool:
        """Carry out the next change. False if there is none."""
        async with self.changing:
            async with self._step:
                match self._membership.next_change(self._names):
                    case Take(partitions):
                        await self._take(partitions)
                        return True
                    case GiveBack(partitions):
                        positions = self._fetcher.end({self._named(one) for one in partitions})
                    case None:
                        return False
            await self._give_back(partitions, positions)
            return True

    async def _look_up_names(self) -> float | None:
        """Look up the names of assigned topics that are not known. Returns when to try again, if there are such."""
        unknown = {one.topic_id for one in self._membership.missing} - self._names.keys()
        if not unknown:
            return None
        await self._names.look_up(unknown, self._membership.topics)
        return 0.0 if unknown & self._names.keys() else NAMES_RETRY_S

    # ------------------------------------------------------------------ taking over

    async def _take(self, partitions: Partitions) -> None:
        """The listener comes first: no record is handed out before it has its partition."""
        ids = {self._named(one): one.topic_id for one in partitions}
        self._offsets.hold(ids)
        self.topic_ids.update({tp.topic: format_topic_id(topic_id) for tp, topic_id in ids.items()})
        await self._listener.add(ids.keys())
        self._membership.taken()
        self._fetcher.begin(ids.keys())
        if partitions:
            self._news()

    def _named(self, one: TopicIdPartition) -> ClientPartition:
        return ClientPartition(self._names[one.topic_id], one.partition)

    # ------------------------------------------------------------------ giving back

    async def _give_back(self, partitions: Partitions, positions: Mapping[ClientPartition, int]) -> None:
        tps = [self._named(one) for one in partitions]
        await self._find_deleted(partitions)
        if self._commits_positions:
            await self._commit(positions)
        await self._listener.give_back(tps)
        self._membership.given_back()
        self._forget(tps)
        self._news()

    async def _find_deleted(self, partitions: Partitions) -> None:
        """If all of a topic is taken away, it may have been deleted, and there may be another one of that name."""
        kept = {one.topic_id for one in self._membership.owned - partitions}
        doubtful = {one.topic_id for one in partitions} - kept
        if not doubtful:
            return
        existing = await self._names.look_up(doubtful, {self._names[topic_id] for topic_id in doubtful})
        if existing is None:
            return
        for hold in self._offsets.held.values():
            hold.deleted |= hold.topic_id in doubtful and hold.topic_id not in existing

    # ------------------------------------------------------------------ losing

    async def lose(self) -> int:
        """All partitions are lost: nothing of them is committed any more. Returns how many there were.

        Ends the wait of a revocation: what it waits for is cancelled.
        """
        async with self._step:
            lost = [self._named(one) for one in self._membership.lose()]
            self._fetcher.end(lost)
            self._forget(lost)
            await self._listener.lose(lost)
        return len(lost)

    def _forget(self, tps: Collection[ClientPartition]) -> None:
        self._offsets.release(tps)
        for tp in tps:
            self._epochs.forget(tp)
        topics = {tp.topic for tp in self._offsets.held}
        for topic in {tp.topic for tp in tps} - topics:
            self.topic_ids.pop(topic, None)

    # ------------------------------------------------------------------ positions that are committed as they are

    async def commit_positions(self) -> None:
        """At most once: commit the positions of all partitions."""
        await self._commit(self._fetcher.positions())

    async def _commit(self, positions: Mapping[ClientPartition, int]) -> None:
        if not positions:
            return
        try:
            await self._offsets.commit(
                {tp: (position, "") for tp, position in positions.items()}, timeout_s=POSITIONS_COMMIT_S
            )
        except BrokerRefused:
            raise
        except BrokerError as error:
            logger.warning("could not commit the positions: %s", error)
