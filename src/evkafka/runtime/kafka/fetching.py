"""The fetching side of a consumer: buffers per partition, where to begin, and what cannot be read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiokafka import errors as kafka
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchError, FetchResult, OffsetResetStrategy
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.ports import OffsetReset, TopicPartition, Unreadable
from evkafka.runtime.kafka.errors import translate
from evkafka.runtime.kafka.records import KafkaRecord, Unread
from evkafka.runtime.kafka.sparing import Sparing

logger = logging.getLogger("evkafka.runtime.kafka")


class Buffer(Unread):
    """Unread records of one partition of one assignment."""

    __slots__ = ("assignment", "backoff_s", "made_at_s")
    assignment: Any
    backoff_s: float
    made_at_s: float

    def calculate_backoff(self) -> float:
        """For the fetch routine: how long its broker is not asked again, for these are still unread."""
        return float(max(0.0, self.made_at_s + self.backoff_s - time.monotonic()))

    def stands(self, tp: ClientPartition) -> bool:
        """False after a seek or a rebalance: then this is no longer what comes next."""
        return bool(self.assignment.active and self.assignment.state_value(tp)._position == self.position)


class Blocked:
    """A partition that cannot be read on. It is not fetched again while this stands in its place."""

    __slots__ = ("left_out", "reported", "unreadable")

    def __init__(self, unreadable: Unreadable) -> None:
        self.unreadable = unreadable
        self.reported = False
        self.left_out = False

    def calculate_backoff(self) -> float:
        return 0.0


class Fetching(Fetcher):  # type: ignore[misc]  # the client library is untyped
    """aiokafka's Fetcher, contained.

    Args:
        committed: looks up the group's committed offsets of these partitions.
        is_new: whether this partition appeared after the group's (or the groupless reader's) start.
        reset: the rule where there is no offset to go on from.
        on_failure: told what ends this source's life.
    """

    def __init__(
        self,
        client: Any,
        subscriptions: Any,
        *,
        committed: Callable[[Collection[ClientPartition]], Awaitable[Mapping[ClientPartition, int]]],
        is_new: Callable[[ClientPartition], bool],
        reset: str,
        on_failure: Callable[[BrokerError], object],
        **options: Any,
    ) -> None:
        super().__init__(client, subscriptions, auto_offset_reset="none", **options)
        self._committed = committed
        self._is_new = is_new
        self._reset = reset
        self._on_failure = on_failure
        self._warnings = Sparing(logger)
        self._max_partition_fetch_bytes: int
        self._out_of_range: dict[ClientPartition, int] = {}  # while the partition awaits its reset
        self._resets: list[tuple[Any, OffsetReset]] = []  # with the assignment that each belongs to
        self._under_way: dict[FetchRequest, float] = {}  # since when

    # ------------------------------------------------------------------ handing out

    def resets(self) -> list[OffsetReset]:
        """Positions that came from the rule and still stand: no rebalance, and no seek, has come since."""
        self._resets = [
            (assignment, reset)
            for assignment, reset in self._resets
            if assignment.active and assignment.state_value(reset.partition)._position == reset.to_offset
        ]
        return [reset for _, reset in self._resets]

    @property
    def resets_pending(self) -> bool:
        return bool(self._resets)

    def told(self) -> None:
        """The resets have been told."""
        self._resets = []

    def take(
        self,
        wanted: Collection[ClientPartition] | None,
        most: int,
        on_unreadable: Callable[[Unreadable], object],
    ) -> dict[ClientPartition, list[KafkaRecord]]:
        """What is there of the wanted partitions, without any suspension. Partly read ones go to the end of the
        queue: aiokafka hands out the whole of one partition before the next has its turn."""
        batches: dict[ClientPartition, list[KafkaRecord]] = {}
        for tp in list(self._records):
            if wanted is not None and tp not in wanted:
                continue
            entry = self._records.get(tp)
            if isinstance(entry, Blocked):
                if not entry.reported:
                    entry.reported = True
                    on_unreadable(entry.unreadable)
                continue
            if not entry.stands(tp):
                self._forget(tp)
                continue
            records = entry.take(most)
            entry.assignment.state_value(tp).consumed_to(entry.position)
            if entry.exhausted:
                self._exhausted(tp, entry)
                if not records and tp in self._records:  # nothing before the damage: it is told in this very call
                    self._records[tp].reported = True
                    on_unreadable(self._records[tp].unreadable)
            else:
                self._records.move_to_end(tp)
            if records:
                batches[tp] = records
                most -= len(records)
                if most <= 0:
                    break
        return batches

    def _exhausted(self, tp: ClientPartition, entry: Buffer) -> None:
        self._forget(tp)
        if entry.damage is not None:
            self._block(tp, *entry.damage)

    def _block(self, tp: ClientPartition, offset: int, next_offset: int, error: Exception) -> None:
        self._records[tp] = Blocked(Unreadable(TopicPartition(*tp), offset, next_offset, error))

    def _forget(self, tp: ClientPartition) -> None:
        self._records.pop(tp, None)
        self._notify(self._wait_consume_future)

    def polled(self, wanted: Collection[ClientPartition] | None) -> None:
        """A new poll: what was reported unreadable is tried again where the poll names it, or where it names all
        after having left it out. A poll for all, again and again, is no wish to read the same damage for ever."""
        for tp, entry in tuple(self._records.items()):
            if not isinstance(entry, Blocked) or not entry.reported:
                continue
            if wanted is None:
                if entry.left_out:
                    self._forget(tp)
            elif tp in wanted:
                self._forget(tp)
            else:
                entry.left_out = True

    # ------------------------------------------------------------------ fetching

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> bool:
        """Take over what a fetch brought, before anybody has seen it."""
        self._under_way[request] = time.monotonic()
        try:
            woke = bool(await super()._proc_fetch_request(assignment, node_id, request))
        except asyncio.CancelledError:
            # Cancelled in its backoff, this makes aiokafka's stop() raise CancelledError into its caller.
            return False
        finally:
            del self._under_way[request]
        answer = self._client.fetched.pop(request, None)
        if answer is None or not assignment.active:
            return woke
        for topic, partitions in answer.topics:
            for partition, _, _, *rest in partitions:
                tp = ClientPartition(topic, partition)
                entry = self._records.get(tp)
                if type(entry) is FetchResult:
                    self._records[tp] = self._buffer(tp, assignment, entry, rest[-1])
                elif type(entry) is FetchError:
                    del self._records[tp]
                    self._contain(tp, assignment.state_value(tp), entry._error)
        return woke

    def receives(self, tp: ClientPartition | None = None) -> bool:
        """Whether an answer comes in slowly that may bring the partition's next records (or any partition's).

        A fetch that is older than the longest silence would have been given up if nothing of its answer had come.
        """
        before_s = time.monotonic() - self._client.silence_s(FetchRequest)
        return any(
            since_s < before_s and (tp is None or _asks_for(request, tp))
            for request, since_s in self._under_way.items()
        )

    def _buffer(self, tp: ClientPartition, assignment: Any, result: Any, raw: bytes) -> Buffer:
        fetched = result._partition_records
        buffer = Buffer(
            tp.topic,
            tp.partition,
            raw,
            position=fetched.next_fetch_offset,
            aborted=fetched._aborted_transactions,
            read_committed=self._isolation_level == READ_COMMITTED,
            check_crcs=self._check_crcs,
        )
        buffer.assignment = assignment
        buffer.made_at_s = result._created
        buffer.backoff_s = result._backoff
        return buffer

    def _contain(self, tp: ClientPartition, state: Any, error: Exception) -> None:
        match error:
            case kafka.RecordTooLargeError():
                # B4-12: aiokafka has moved past the record that it could not take. Back, with a larger fetch.
                offset = state.position - 1
                state.consumed_to(offset)
                self._larger_fetch(tp, offset, error)
            case kafka.OffsetOutOfRangeError():
                self._out_of_range[tp] = state.position
                state.await_reset(OffsetResetStrategy.NONE)
            case _:
                self._on_failure(translate(error, f"reading {tp.topic}[{tp.partition}]"))

    def _larger_fetch(self, tp: ClientPartition, offset: int, error: Exception) -> None:
        if self._max_partition_fetch_bytes >= self._fetch_max_bytes:
            self._block(tp, offset, offset + 1, error)
            return
        self._max_partition_fetch_bytes = min(self._max_partition_fetch_bytes * 2, self._fetch_max_bytes)
        logger.warning(
            "%s[%d]@%d is larger than a fetch: max_partition_fetch_bytes is raised to %d",
            tp.topic,
            tp.partition,
            offset,
            self._max_partition_fetch_bytes,
        )

    # ------------------------------------------------------------------ where to begin

    async def _update_fetch_positions(self, assignment: Any, node_id: Any, tps: Collection[ClientPartition]) -> bool:
        """Find positions for partitions that have none. aiokafka's own takes a failed look-up for "no commit"."""
        try:
            return await self._find_positions(assignment, node_id, tps)
        except asyncio.CancelledError:
            return False
        except (kafka.KafkaError, BrokerError) as error:
            trouble = translate(error, "looking up where to begin in " + ", ".join(sorted({tp.topic for tp in tps})))
            if isinstance(trouble, BrokerRefused) or not getattr(error, "retriable", False):
                self._on_failure(trouble)
            else:
                self._warnings.warn(f"{trouble}; trying again")
        try:
            await asyncio.sleep(self._retry_backoff)
        except asyncio.CancelledError:
            return False
        return True

    async def _find_positions(self, assignment: Any, node_id: Any, tps: Collection[ClientPartition]) -> bool:
        open_ = [tp for tp in tps if not assignment.state_value(tp).has_valid_position]
        for tp in open_:
            if not assignment.state_value(tp).awaiting_reset:
                self._out_of_range.pop(tp, None)  # what an earlier assignment ran into
        committed = await self._committed([tp for tp in open_ if tp not in self._out_of_range])
        resets = []
        for tp in open_:
            state = assignment.state_value(tp)
            if not assignment.active or state.has_valid_position:
                continue  # a rebalance, or a seek, came meanwhile
            offset = committed.get(tp)
            if offset is None or tp in self._out_of_range:
                resets.append((tp, *self._rule(tp)))
            else:
                state.seek(offset)
        if not resets:
            return False
        by_topic: dict[str, list[tuple[int, int]]] = {}
        for tp, _, strategy in resets:
            by_topic.setdefault(tp.topic, []).append((tp.partition, strategy))
        offsets = await self._proc_offset_request(node_id, by_topic)
        for tp, reason, _ in resets:
            state = assignment.state_value(tp)
            from_offset = self._out_of_range.pop(tp, None)
            if assignment.active and not state.has_valid_position:
                to_offset = offsets[tp][0]
                self._resets.append((assignment, OffsetReset(TopicPartition(*tp), from_offset, to_offset, reason)))
                state.seek(to_offset)
        return True

    def _rule(self, tp: ClientPartition) -> tuple[Any, int]:
        """Why there is nothing to go on from, and where to begin instead.

        Raises:
            BrokerRefused: `auto_offset_reset` says that a person must decide.
        """
        out_of_range = self._out_of_range.get(tp)
        is_new = out_of_range is None and self._is_new(tp)
        reason = "out_of_range" if out_of_range is not None else "new_partition" if is_new else "no_commit"
        if self._reset == "none":
            what = "has no committed offset" if out_of_range is None else f"no longer has offset {out_of_range}"
            raise BrokerRefused(
                f'{tp.topic}[{tp.partition}] {what}, and auto_offset_reset is "none": commit an offset for the'
                ' group with an admin tool, or set auto_offset_reset to "earliest" or "latest"'
            )
        if self._reset == "earliest" or is_new:
            return reason, OffsetResetStrategy.EARLIEST
        return reason, OffsetResetStrategy.LATEST


def _asks_for(request: FetchRequest, tp: ClientPartition) -> bool:
    return any(topic == tp.topic and any(tp.partition == row[0] for row in rows) for topic, rows in request.topics)
