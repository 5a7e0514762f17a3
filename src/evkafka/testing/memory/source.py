"""A member's source: the engine's RecordSource, over the in-memory log."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from evkafka.exceptions import BrokerRefused, BrokerUnavailable, CommitRefused, CommitUnknown
from evkafka.ports import OffsetReset, Record, SourceListener, SourceState, TimerHandle, TopicPartition, Unreadable
from evkafka.runtime.clock import wait_any
from evkafka.settings import ConsumerSettings
from evkafka.testing.memory.log import MemoryRecord

if TYPE_CHECKING:
    from evkafka.testing.memory.group import Group
    from evkafka.testing.memory.kafka import InMemoryKafka


class MemorySource:
    """One member (or groupless reader). Positions, assignments and commits behave as the contained client's do.

    Attributes:
        alive: False once it has crashed: it answers nothing and nobody any more.
        haunts: True from the crash until the group has noticed it.
        expired: True while the group has given its partitions to others and it does not know yet.
    """

    def __init__(self, kafka: InMemoryKafka, settings: ConsumerSettings, order: int) -> None:
        self.order = order
        self.alive = True
        self.haunts = False
        self.expired = False
        self._kafka = kafka
        self._settings = settings
        self._group: Group | None = kafka.group(settings.group_id) if settings.group_id is not None else None
        self._listener: SourceListener | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._generation = -1
        self._auto_commit: TimerHandle | None = None

    # ------------------------------------------------------------------ life

    async def start(self, listener: SourceListener) -> None:
        await self._kafka.hop()
        if self._kafka.away:
            raise BrokerUnavailable("the in-memory Kafka is away")
        self._listener = listener
        for topic in self.topics():
            self._kafka.ensure_topic(topic)
        if self._group is None:
            asyncio.get_running_loop().create_task(self.assign(self._all_partitions(), 0))
        else:
            self._group.join(self)
        self._schedule_auto_commit()

    async def stop(self, *, timeout_s: float) -> None:
        if not self.alive:
            return
        self.alive = False
        self._commit_positions()
        if self._auto_commit is not None:
            self._auto_commit.cancel()
        if self._group is not None:
            self._group.leave(self)
        self._positions.clear()

    def crash(self) -> None:
        """The process is gone: the group learns of it when the session has expired."""
        self.alive = False
        self._positions.clear()
        if self._auto_commit is not None:
            self._auto_commit.cancel()
        if self._group is not None:
            self.haunts = True
            self._kafka.clock.call_later(self._settings.session_timeout_s, self._forgotten)

    def _forgotten(self) -> None:
        assert self._group is not None
        self.haunts = False
        self._group.leave(self)

    def expire(self) -> None:
        """The session has expired, and this member does not know: others get its partitions, its commits are refused.

        It notices at its next heartbeat, gives up what it had, and joins again.
        """
        if self._group is None or self.expired:
            return
        self.expired = True
        self._group.leave(self)
        self._kafka.clock.call_later(self._settings.heartbeat_interval_s, self._notice)

    def _notice(self) -> None:
        async def join_again() -> None:
            await self.revoke()
            self.expired = False
            if self.alive and self._group is not None:
                self._group.join(self)

        if self.alive:
            self._kafka.background(join_again())

    # ------------------------------------------------------------------ the group's calls

    def topics(self) -> Collection[str]:
        pattern = self._settings.topic_pattern
        if pattern is None:
            return [topic.name for topic in self._settings.topics]
        return [name for name in self._kafka.topics() if pattern.fullmatch(name)]

    async def revoke(self) -> None:
        if not self.alive or self._listener is None:
            return
        if not self.expired:
            self._commit_positions()
        await self._kafka.hop()
        await self._listener.on_revoked(list(self._positions))
        self._positions.clear()
        self._generation = -1

    async def assign(self, partitions: Collection[TopicPartition], generation: int) -> None:
        if not self.alive or self._listener is None:
            return
        self._generation = generation
        await self._kafka.hop()
        await self._listener.on_assigned(partitions)
        for tp in partitions:
            self._locate(tp)
        self._kafka.wake()

    def _locate(self, tp: TopicPartition) -> None:
        """Where to begin: at the committed offset, or by the reset rule."""
        log = self._kafka.log(tp)
        committed = self._group.committed.get(tp) if self._group is not None else None
        if committed is not None and log.start <= committed <= log.end:
            self._positions[tp] = committed
        else:
            self._reset(tp, committed)

    def _reset(self, tp: TopicPartition, from_offset: int | None) -> None:
        log, rule = self._kafka.log(tp), self._settings.auto_offset_reset
        siblings = self._group is not None and any(other.topic == tp.topic for other in self._group.committed)
        if rule == "none":
            raise BrokerRefused(f"{tp.topic}[{tp.partition}] has no valid offset, and auto_offset_reset is 'none'")
        new = from_offset is None and siblings
        to = log.start if new or rule == "earliest" else log.end
        reason = "new_partition" if new else "no_commit" if from_offset is None else "out_of_range"
        self._positions[tp] = to
        assert self._listener is not None
        self._listener.on_reset(OffsetReset(tp, from_offset, to, reason))  # type: ignore[arg-type]

    # ------------------------------------------------------------------ reading

    async def poll(
        self, partitions: Collection[TopicPartition] | None, *, timeout_s: float, max_records: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        deadline_s = self._kafka.clock.now() + timeout_s
        while True:
            await self._while_rebalancing()
            if (fault := self._kafka.take_poll_fault()) is not None:
                raise fault
            batches = self._take(partitions, max_records)
            left_s = deadline_s - self._kafka.clock.now()
            if batches or left_s <= 0:
                return batches
            await wait_any(self._kafka.clock, self._kafka.change(), timeout_s=left_s)

    async def _while_rebalancing(self) -> None:
        """A poll does not return records, nor at its timeout, while its member rebalances."""
        while not self.alive or (self._group is not None and self._group.rebalancing):
            await self._kafka.change()

    def _take(
        self, partitions: Collection[TopicPartition] | None, max_records: int
    ) -> dict[TopicPartition, Sequence[Record]]:
        batches: dict[TopicPartition, Sequence[Record]] = {}
        if self._kafka.away:
            return batches
        left = max_records
        for tp in list(self._positions):
            if left <= 0 or (partitions is not None and tp not in partitions):
                continue
            if (records := self._read(tp, left)) is not None:
                batches[tp] = records
                left -= len(records)
        return batches

    def _read(self, tp: TopicPartition, most: int) -> list[MemoryRecord] | None:
        log, position = self._kafka.log(tp), self._positions[tp]
        if position < log.start or position > log.end:
            self._reset(tp, position)
            return None
        records = log.read(position, most)
        if records:
            self._positions[tp] = log.next_after(records[-1].offset + 1)
            return records
        blocked = min((offset for offset in log.unreadable if offset >= position), default=None)
        if blocked is not None:
            assert self._listener is not None
            self._listener.on_unreadable(Unreadable(tp, blocked, blocked + 1, ValueError("a bad checksum")))
        else:
            self._positions[tp] = log.next_after(position)
        return None

    def position(self, partition: TopicPartition) -> int | None:
        return self._positions.get(partition)

    def end_offset(self, partition: TopicPartition) -> int | None:
        return self._kafka.log(partition).end

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._positions:
            self._positions[partition] = offset
            self._kafka.wake()

    # ------------------------------------------------------------------ committing

    async def commit(self, offsets: Mapping[TopicPartition, int], *, timeout_s: float) -> None:
        generation = self._generation
        await self._kafka.hop()
        match self._kafka.take_commit_fault():
            case "refused":
                raise CommitRefused("refused by the test")
            case "unavailable":
                raise BrokerUnavailable("away by the test")
            case "unknown, lost":
                raise CommitUnknown("no answer, by the test")
            case "unknown, written":
                self._write(offsets, generation)
                raise CommitUnknown("no answer, by the test")
            case _:
                if self._kafka.away:
                    raise BrokerUnavailable("the in-memory Kafka is away")
                self._write(offsets, generation)

    def _write(self, offsets: Mapping[TopicPartition, int], generation: int) -> None:
        if self._group is None:
            return
        held = self.alive and not self.expired and generation == self._generation != -1
        if not held or any(tp not in self._positions for tp in offsets):
            raise CommitRefused("the partitions are another member's by now")
        self._group.committed.update(offsets)

    def _schedule_auto_commit(self) -> None:
        """At most once on an interval, the client itself commits what it has handed out."""
        settings = self._settings
        if settings.auto_commit_mode == "pre-commit" and settings.auto_commit_interval_s > 0 and self.alive:
            self._commit_positions()
            self._auto_commit = self._kafka.clock.call_later(
                settings.auto_commit_interval_s, self._schedule_auto_commit
            )

    def _commit_positions(self) -> None:
        settings = self._settings
        by_itself = settings.auto_commit_mode == "pre-commit" and settings.auto_commit_interval_s > 0
        if by_itself and self._group is not None and not self.expired and not self._kafka.away:
            self._group.committed.update(self._positions)

    # ------------------------------------------------------------------ state

    def state(self) -> SourceState:
        if not self.alive or self.expired:
            return "lost"
        return "joining" if self._group is not None and self._group.rebalancing else "steady"

    def assignment(self) -> Collection[TopicPartition]:
        return list(self._positions)

    def _all_partitions(self) -> list[TopicPartition]:
        return [tp for topic in self.topics() for tp in self._kafka.partitions(topic)]

    def unfinished(self) -> str:
        """What this member still has to do, in words; empty where nothing is."""
        if not self.alive or self.expired:
            return ""
        if lag := sum(self._kafka.log(tp).end - position for tp, position in self._positions.items()):
            return f"lags by {lag}"
        if self._group is not None and self._settings.auto_commit_mode == "post-commit":
            behind = [tp for tp, position in self._positions.items() if self._group.committed.get(tp) != position]
            if behind:
                return f"has not committed {', '.join(f'{tp.topic}[{tp.partition}]' for tp in behind)}"
        return ""
