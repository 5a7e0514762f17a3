"""A member's commits: the engine's own, and in pre-commit mode those that the client makes by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerUnavailable, CommitRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.clock import sleep, within
from evkafka.runtime.ports import TimerHandle

if TYPE_CHECKING:
    from evkafka.testing.memory.cluster import MemoryCluster
    from evkafka.testing.memory.group import Group
    from evkafka.testing.memory.source import MemorySource


class OffsetCommits:
    """How one member commits."""

    def __init__(
        self, kafka: MemoryCluster, member: MemorySource, group: Group | None, settings: ConsumerSettings
    ) -> None:
        self._kafka = kafka
        self._member = member
        self._group = group
        self._at_least_once = settings.auto_commit_mode == "post-commit"
        self._interval_s = settings.auto_commit_interval_s
        self._timer: TimerHandle | None = None

    # ------------------------------------------------------------------ the engine's

    async def commit(
        self, offsets: Mapping[TopicPartition, int], metadata: Mapping[TopicPartition, str], *, timeout_s: float
    ) -> None:
        """As the port says it."""
        answer = self._request(dict(offsets), dict(metadata), self._member.generation)
        if self._kafka.faults.commit_s[1] == 0.0:
            await answer
            return
        try:
            await within(self._kafka.clock, answer, timeout_s)
        except TimeoutError:
            raise CommitUnknown(f"no answer to a commit within {timeout_s:g} s") from None

    async def _request(
        self, offsets: Mapping[TopicPartition, int], metadata: Mapping[TopicPartition, str], generation: int
    ) -> None:
        """The request arrives after half of the latency, the answer after the other half."""
        await self._kafka.hop()
        latency_s = self._kafka.faults.take_s(self._kafka.faults.commit_s)
        if latency_s:
            await sleep(self._kafka.clock, latency_s / 2)
        match self._kafka.faults.next_commit():
            case "refused":
                raise CommitRefused("refused by the test")
            case "unavailable":
                raise BrokerUnavailable("away by the test")
            case "unknown, lost":
                raise CommitUnknown("no answer, by the test")
            case "unknown, written":
                self._write(offsets, metadata, generation)
                raise CommitUnknown("no answer, by the test")
        if self._kafka.away:
            raise BrokerUnavailable("the in-memory Kafka is away")
        self._write(offsets, metadata, generation)
        if latency_s:
            await sleep(self._kafka.clock, latency_s / 2)

    def _write(
        self, offsets: Mapping[TopicPartition, int], metadata: Mapping[TopicPartition, str], generation: int
    ) -> None:
        member = self._member
        if self._group is None:
            raise CommitRefused("a reader without a group commits nothing: give it a group_id")
        held = member.alive and not member.expired and generation == member.generation != -1
        if not held or any(tp not in member.positions for tp in offsets):
            raise CommitRefused("the partitions are another member's by now")
        self._group.write(offsets, metadata, member.epochs)

    def is_behind(self, tp: TopicPartition, position: int) -> bool:
        """True while the engine has not committed this far, and is to."""
        return self._group is not None and self._at_least_once and self._group.committed.get(tp) != position

    # ------------------------------------------------------------------ the client's own, at most once

    def start(self) -> None:
        self._on_interval()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _on_interval(self) -> None:
        """At most once on an interval, the client itself commits what it has handed out."""
        if not self._at_least_once and self._interval_s > 0 and self._member.alive:
            self.commit_positions()
            self._timer = self._kafka.clock.call_later(self._interval_s, self._on_interval)

    def commit_positions(self) -> None:
        """What the client does by itself on its interval, at a revoke and at the stop."""
        by_itself = not self._at_least_once and self._interval_s > 0
        if by_itself and self._group is not None and not self._member.expired and not self._kafka.away:
            moved = {tp: at for tp, at in self._member.positions.items() if self._group.committed.get(tp) != at}
            if moved:
                self._group.write(moved, {}, self._member.epochs)

    def keep_reset(self, tp: TopicPartition, offset: int) -> None:
        """Strictly at most once, the position that a rule found is committed before anything is read from it."""
        if self._group is not None and not self._at_least_once and self._interval_s == 0 and not self._kafka.away:
            self._group.write({tp: offset}, {}, self._member.epochs)
