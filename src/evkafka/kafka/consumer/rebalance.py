"""Forwards rebalances to the source's listener, and says which records may be handed out meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto

from aiokafka import ConsumerRebalanceListener
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError
from evkafka.kafka.consumer.source_consumer import SourceConsumer
from evkafka.kafka.errors import translate_error
from evkafka.records import TopicPartition
from evkafka.runtime.ports import PositionsCommit, SourceListener


class RebalanceState(Enum):
    """How far a source is with its assignment."""

    NEVER_ASSIGNED = auto()
    ASSIGNED = auto()  # the group has assigned partitions; the listener is taking them over
    READY = auto()  # the listener has taken them over: records may be handed out
    REVOKED = auto()

    def state_after_revoked(self) -> RebalanceState:
        """aiokafka also revokes before the first assignment; that changes nothing."""
        return self if self is RebalanceState.NEVER_ASSIGNED else RebalanceState.REVOKED

    @property
    def has_assignment(self) -> bool:
        return self in (RebalanceState.ASSIGNED, RebalanceState.READY)


class RebalanceForwarder(ConsumerRebalanceListener):
    """aiokafka's rebalance listener. Commits are allowed from an assignment until the end of its revocation.

    aiokafka logs an error of a listener and continues, so what the listener tracks would be wrong from then on. Here it
    ends the source (aiokafka-defects.md#listener-errors).

    Args:
        looks_up_ids: whether the ids of assigned topics are needed.
        on_failure: called with the error that makes the source unusable.

    Attributes:
        state: written here only.
    """

    def __init__(
        self,
        consumer: SourceConsumer,
        listener: SourceListener,
        *,
        looks_up_ids: bool,
        on_failure: Callable[[BrokerError], object],
    ) -> None:
        self._looks_up_ids = looks_up_ids
        self._consumer = consumer
        self._listener = listener
        self._on_failure = on_failure
        self._assigned: Collection[TopicPartition] = ()  # what the listener has
        self.state = RebalanceState.NEVER_ASSIGNED

    async def on_partitions_revoked(self, revoked: Collection[ClientPartition]) -> None:
        try:
            with self._failing_source("revoking partitions"):
                if revoked and self.state is RebalanceState.READY:
                    await self._listener.on_revoked([TopicPartition(*tp) for tp in revoked])
                    self._assigned = ()
        finally:
            self.state = self.state.state_after_revoked()
            self._consumer.refuse_commits_after_revoked()

    async def on_partitions_assigned(self, assigned: Collection[ClientPartition]) -> None:
        self._consumer.allow_commits_after_assigned()
        self.state = RebalanceState.ASSIGNED
        with self._failing_source("assigning partitions"):
            if self._looks_up_ids and assigned:
                await self._consumer.load_topic_ids({tp.topic for tp in assigned})
            if self._assigned:  # they ended without a revoke
                await self._listener.on_lost(self._assigned)
            self._assigned = [TopicPartition(*tp) for tp in assigned]
            await self._listener.on_assigned(self._assigned)
        self.state = RebalanceState.READY
        self._consumer.note_partitions_at_first_assignment()

    # ------------------------------------------------------------------ the consumer protocol: partitions come and go

    async def on_assigned(self, assigned: Collection[ClientPartition]) -> None:
        """These partitions are assigned in addition to the others."""
        with self._failing_source("assigning partitions"):
            await self._listener.on_assigned([TopicPartition(*tp) for tp in assigned])
        self.state = RebalanceState.READY
        self._consumer.note_partitions_at_first_assignment()

    async def on_revoked(self, revoked: Collection[ClientPartition]) -> None:
        """These partitions are given back when this returns."""
        with self._failing_source("revoking partitions"):
            await self._listener.on_revoked([TopicPartition(*tp) for tp in revoked])

    async def on_lost(self, lost: Collection[ClientPartition]) -> None:
        """These partitions, all that there were, have other owners already."""
        self.state = self.state.state_after_revoked()
        with self._failing_source("losing partitions"):
            if lost:
                await self._listener.on_lost([TopicPartition(*tp) for tp in lost])

    # ------------------------------------------------------------------ positions that the client commits by itself

    def on_positions_commit(
        self, positions: Mapping[ClientPartition, int], duration_s: float, error: BrokerError | None
    ) -> None:
        """The client has committed these positions; with an error it has not."""
        offsets = {TopicPartition(*tp): position for tp, position in positions.items()}
        with self._failing_source("reporting a commit"):
            self._listener.on_positions_commit(PositionsCommit(offsets, duration_s, error))

    @contextmanager
    def _failing_source(self, doing: str) -> Iterator[None]:
        """An error in the block ends the source; what follows the block is done all the same."""
        try:
            yield
        except Exception as error:
            self._on_failure(translate_error(error, doing))
