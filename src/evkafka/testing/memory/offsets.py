"""Offset commits of one member: those that the engine asks for, and in pre-commit mode the client's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evkafka.config.settings import ConsumerSettings
from evkafka.config.time_limits import seconds_text
from evkafka.exceptions import BrokerUnavailable, CommitRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.clock import sleep, wait_for
from evkafka.runtime.leader_epochs import LeaderEpochs
from evkafka.runtime.ports import MetadataTooLarge, PositionsCommit, SourceListener, TimerHandle
from evkafka.testing.memory.group import Group
from evkafka.testing.memory.state import ClusterState

MAX_METADATA_BYTES = 4096
"""offset.metadata.max.bytes of a broker with default settings."""


class CommittingMember(Protocol):
    """The group member whose offsets are committed; see `MemorySource`."""

    alive: bool
    expired: bool
    assigned_in: dict[TopicPartition, int]

    @property
    def crashed(self) -> bool: ...
    @property
    def positions(self) -> dict[TopicPartition, int]: ...
    @property
    def epochs(self) -> LeaderEpochs: ...
    def topic_id(self, topic: str) -> str: ...


@dataclass(frozen=True, slots=True)
class OffsetRequest:
    """The offsets that a member commits.

    Attributes:
        held: in which generation each partition was assigned, when the request was sent.
    """

    offsets: Mapping[TopicPartition, int]
    metadata: Mapping[TopicPartition, str]
    held: Mapping[TopicPartition, int | None]


class OffsetCommits:
    """Commits the offsets of one member.

    Attributes:
        listener: is told of the client's own commits; None before the start.
    """

    def __init__(
        self, cluster: ClusterState, member: CommittingMember, group: Group | None, settings: ConsumerSettings
    ) -> None:
        self._cluster = cluster
        self._member = member
        self._group = group
        self._at_least_once = not settings.at_most_once
        self._interval_s = settings.auto_commit_interval_s
        self._timer: TimerHandle | None = None
        self.listener: SourceListener | None = None

    # ------------------------------------------------------------------ commits of the engine

    async def commit(
        self, offsets: Mapping[TopicPartition, int], metadata: Mapping[TopicPartition, str], *, timeout_s: float
    ) -> None:
        """See `RecordSource.commit`."""
        answer = self._send_commit(self.build_request(offsets, metadata))
        if self._cluster.faults.commit_s[1] == 0.0:
            await answer
            return
        try:
            await wait_for(self._cluster.clock, answer, timeout_s)
        except TimeoutError:
            raise CommitUnknown(f"no answer to a commit within {seconds_text(timeout_s)}") from None

    def build_request(
        self, offsets: Mapping[TopicPartition, int], metadata: Mapping[TopicPartition, str]
    ) -> OffsetRequest:
        assigned_in = self._member.assigned_in
        return OffsetRequest(dict(offsets), dict(metadata), {tp: assigned_in.get(tp) for tp in offsets})

    async def _send_commit(self, request: OffsetRequest) -> None:
        """The request arrives after half of the latency, the answer after the other half."""
        await self._cluster.wait_random_loop_turns()
        latency_s = self._cluster.faults.draw_latency_s(self._cluster.faults.commit_s)
        if latency_s:
            await sleep(self._cluster.clock, latency_s / 2)
        match self._cluster.faults.take_commit_fault():
            case "refused":
                raise CommitRefused("refused by the test")
            case "unavailable":
                raise BrokerUnavailable("made unavailable by the test")
            case "unknown, lost":
                raise CommitUnknown("no answer, by the test")
            case "unknown, written":
                self._store_commit(request)
                raise CommitUnknown("no answer, by the test")
        if self._cluster.is_in_outage:
            raise BrokerUnavailable("the in-memory Kafka is unavailable")
        self._store_commit(request)
        if latency_s:
            await sleep(self._cluster.clock, latency_s / 2)

    def _store_commit(self, request: OffsetRequest) -> None:
        self.require_accepting_group(request).store_commit(request.offsets, request.metadata, self._member.epochs)

    def require_accepting_group(self, request: OffsetRequest) -> Group:
        """The group, which accepts these offsets now.

        Raises:
            CommitRefused, MetadataTooLarge: it does not.
        """
        member = self._member
        if self._group is None:
            raise CommitRefused("a consumer without a group cannot commit: give it a group_id")
        if any(len(text) > MAX_METADATA_BYTES for text in request.metadata.values()):
            raise MetadataTooLarge("OFFSET_METADATA_TOO_LARGE")
        is_member = member.alive and not member.expired
        held = request.held
        if not is_member or any(held[tp] is None or member.assigned_in.get(tp) != held[tp] for tp in request.offsets):
            raise CommitRefused("the partitions now belong to another member")
        if any(member.topic_id(tp.topic) != self._cluster.topics.topic_id(tp.topic) for tp in request.offsets):
            raise CommitRefused("the topic was deleted after its partitions had been assigned")
        return self._group

    def is_uncommitted(self, tp: TopicPartition, position: int) -> bool:
        """True while the engine still has to commit this position."""
        return self._group is not None and self._at_least_once and self._group.committed.get(tp) != position

    # ------------------------------------------------------------------ the client's own commits, at most once

    def start_interval_commits(self) -> None:
        self._on_interval()

    def stop_interval_commits(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _on_interval(self) -> None:
        """In pre-commit mode with an interval, the client commits the positions of returned records by itself."""
        if not self._at_least_once and self._interval_s > 0 and self._member.alive:
            self.commit_positions()
            self._timer = self._cluster.clock.call_later(self._interval_s, self._on_interval)

    def commit_positions(self) -> None:
        """Commit as the client does by itself: on its interval, when partitions are revoked, and when it stops."""
        by_itself = not self._at_least_once and self._interval_s > 0
        if not by_itself or self._group is None or self._member.expired:
            return
        moved = {tp: at for tp, at in self._member.positions.items() if self._group.committed.get(tp) != at}
        if not moved:
            return
        error = BrokerUnavailable("the in-memory Kafka is unavailable") if self._cluster.is_in_outage else None
        if error is None:
            self._group.store_commit(moved, {}, self._member.epochs)
        if self.listener is not None:
            self.listener.on_positions_commit(PositionsCommit(moved, 0.0, error))

    def commit_reset_position(self, tp: TopicPartition, offset: int) -> None:
        """In pre-commit mode without an interval, commit a reset position before anything is read from it."""
        if (
            self._group is not None
            and not self._at_least_once
            and self._interval_s == 0
            and not self._cluster.is_in_outage
        ):
            self._group.store_commit({tp: offset}, {}, self._member.epochs)
