"""aiokafka's Fetcher without its defects: buffers per partition, start positions, unreadable records."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from aiokafka import errors as kafka
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchError, FetchResult, OffsetResetStrategy
from aiokafka.consumer.subscription_state import PartitionStatus
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.client.log_throttle import LogThrottle, Outage
from evkafka.kafka.consumer.buffers import BlockedPartition, Buffer, UnverifiedPosition
from evkafka.kafka.consumer.leader_epochs import Divergence, EpochOffset, find_divergences
from evkafka.kafka.consumer.offset_fetch import StaleMemberError, UnstableOffsetError
from evkafka.kafka.consumer.record_decoder import FetchedRecords, KafkaRecord, leader_epoch_of_batch
from evkafka.kafka.errors import translate_error
from evkafka.records import OffsetReset, TopicPartition, Unreadable
from evkafka.runtime.leader_epochs import UNKNOWN, EpochStart, LeaderEpochs

R = TypeVar("R", bound=FetchedRecords)

logger = logging.getLogger("evkafka.runtime.kafka")


class RawFetcher(Fetcher):
    """aiokafka's Fetcher, with access to the bytes that a fetch returned."""

    def _take_raw_batches_by_partition(self, request: FetchRequest) -> Iterator[tuple[ClientPartition, bytes]]:
        """Take the answer to this request: its partitions, with the raw batches of each."""
        answer = self._client.fetched.pop(request, None)
        for topic, partitions in answer.topics if answer is not None else ():
            for partition, _, _, *rest in partitions:
                yield ClientPartition(topic, partition), rest[-1]

    def _create_decoder(
        self, kind: type[R], tp: ClientPartition, raw: bytes, result: FetchResult, max_decompressed_bytes: int
    ) -> R:
        """Our decoder for the records of aiokafka's FetchResult."""
        fetched = result._partition_records
        fetched._records_iterator = None  # aiokafka-defects.md#fetched-bytes
        return kind(
            tp.topic,
            tp.partition,
            raw,
            position=fetched.next_fetch_offset,
            aborted=fetched._aborted_transactions,
            read_committed=self._isolation_level == READ_COMMITTED,
            check_crcs=self._check_crcs,
            max_decompressed_bytes=max_decompressed_bytes,
        )


class BufferingFetcher(RawFetcher):
    """aiokafka's Fetcher without its defects.

    Args:
        committed: looks up the group's committed offsets of these partitions, with their leader epochs.
        epochs: leader epochs of the records read so far. Written here.
        is_new: whether this partition appeared after the start of the group (or of the reader without a group).
        has_finished_offsets_after: whether the group has finished records after this offset, which it has committed.
        settings: the consumer's. `auto_offset_reset` is the rule for partitions without a usable offset, and
            `max_decompressed_bytes` the largest size that one batch may decompress to.
        on_failure: called with the error that makes the source unusable.
    """

    def __init__(
        self,
        client: Any,
        subscriptions: Any,
        *,
        committed: Callable[[Collection[ClientPartition]], Awaitable[Mapping[ClientPartition, EpochOffset]]],
        epochs: LeaderEpochs,
        is_new: Callable[[ClientPartition], bool],
        has_finished_offsets_after: Callable[[ClientPartition, int], bool],
        settings: ConsumerSettings,
        on_failure: Callable[[BrokerError], object],
        **options: Any,
    ) -> None:
        super().__init__(client, subscriptions, auto_offset_reset="none", **options)
        self._committed = committed
        self._epochs = epochs
        self._verified: dict[ClientPartition, tuple[int, int]] = {}  # leader and epoch that a position was verified at
        self._leaders_changed = False  # the metadata are newer than `_verified`
        self._unverified: set[ClientPartition] = set()
        self._is_new = is_new
        self._has_finished_offsets_after = has_finished_offsets_after
        self._reset = settings.auto_offset_reset
        self._max_decompressed_bytes = settings.max_decompressed_bytes
        self._on_failure = on_failure
        self._warnings = LogThrottle(logger)
        self._unstable = Outage(logger)
        self._max_partition_fetch_bytes: int
        self._out_of_range: dict[ClientPartition, int] = {}  # positions of partitions that await their reset
        self._resets: list[tuple[Any, OffsetReset]] = []  # with the assignment that each belongs to
        self._running: dict[FetchRequest, float] = {}  # fetch requests -> when they began
        client.cluster.add_listener(self._note_possible_leader_change)

    @property
    def task(self) -> asyncio.Task[Any]:
        """The task that fetches."""
        task: asyncio.Task[Any] = self._fetch_task
        return task

    def tasks(self) -> list[asyncio.Task[Any]]:
        """All its background tasks."""
        return [self._fetch_task, *self._pending_tasks]

    def create_fetch_waiter(self) -> asyncio.Future[None]:
        """A future that is done when something has been fetched, or the coordination has failed."""
        waiter: asyncio.Future[None] = self._create_fetch_waiter()
        return waiter

    # ------------------------------------------------------------------ handing out

    def list_valid_unreported_resets(self) -> list[OffsetReset]:
        """The resets by the reset rule that were not reported, unless a rebalance or a seek has come since."""
        self._resets = [
            (assignment, reset)
            for assignment, reset in self._resets
            if assignment.active and assignment.state_value(reset.partition)._position == reset.to_offset
        ]
        return [reset for _, reset in self._resets]

    @property
    def has_unreported_resets(self) -> bool:
        return bool(self._resets)

    def forget_reported_resets(self) -> None:
        """Forget the resets: they have been reported."""
        self._resets = []

    def take_records(
        self,
        wanted: Collection[ClientPartition] | None,
        max_records: int,
        on_unreadable_records: Callable[[Unreadable], object],
    ) -> dict[ClientPartition, list[KafkaRecord]]:
        """Take buffered records of the wanted partitions, without a suspension.

        The records of other partitions stay buffered (aiokafka-defects.md#paused-partitions). A partition that is read
        in part goes to the end of the queue: aiokafka hands out all of one partition before the next has its turn.
        """
        batches: dict[ClientPartition, list[KafkaRecord]] = {}
        for tp in list(self._records):
            if wanted is not None and tp not in wanted:
                continue
            entry = self._records.get(tp)
            if isinstance(entry, BlockedPartition):
                if not entry.reported:
                    entry.reported = True
                    on_unreadable_records(entry.unreadable)
                continue
            if isinstance(entry, UnverifiedPosition):
                continue
            if not entry.is_current(tp):
                self._drop_buffer(tp)
                continue
            records = entry.take(max_records)
            if entry.epoch_starts:
                self._epochs.add_read(tp, entry.epoch_starts)
                entry.epoch_starts.clear()
            entry.assignment.state_value(tp).consumed_to(entry.position)
            if entry.exhausted:
                self._remove_exhausted_buffer(tp, entry)
                if not records and tp in self._records:  # no record before the damage: report it in this call
                    self._records[tp].reported = True
                    on_unreadable_records(self._records[tp].unreadable)
            else:
                self._records.move_to_end(tp)
            if records:
                batches[tp] = records
                max_records -= len(records)
                if max_records <= 0:
                    break
        return batches

    def _remove_exhausted_buffer(self, tp: ClientPartition, entry: Buffer) -> None:
        self._drop_buffer(tp)
        if entry.damage is not None:
            self._block_partition_at_unreadable_record(tp, *entry.damage)

    def _block_partition_at_unreadable_record(
        self, tp: ClientPartition, offset: int, next_offset: int, error: Exception
    ) -> None:
        self._records[tp] = BlockedPartition(Unreadable(TopicPartition(*tp), offset, next_offset, error))

    def _drop_buffer(self, tp: ClientPartition) -> None:
        self._records.pop(tp, None)
        self._notify(self._wait_consume_future)

    def retry_blocked(self, wanted: Collection[ClientPartition] | None) -> None:
        """Read blocked partitions again if this poll asks for it.

        It does if it names the partition, or if it names all partitions after a poll that left this one out. Polls for
        all partitions, one after the other, do not read the same damage again and again.
        """
        for tp, entry in tuple(self._records.items()):
            if not isinstance(entry, BlockedPartition) or not entry.reported:
                continue
            if wanted is None:
                if entry.left_out:
                    self._drop_buffer(tp)
            elif tp in wanted:
                self._drop_buffer(tp)
            else:
                entry.left_out = True

    # ------------------------------------------------------------------ fetching

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> bool:
        """Replace what a fetch returned by our buffers before anything else can see it."""
        self._running[request] = time.monotonic()
        try:
            woke = bool(await super()._proc_fetch_request(assignment, node_id, request))
        except asyncio.CancelledError:
            # Cancelled in its backoff, this makes aiokafka's stop() raise CancelledError into its caller.
            return False
        finally:
            del self._running[request]
        for tp, raw in self._take_raw_batches_by_partition(request):
            if not assignment.active:
                continue
            entry = self._records.get(tp)
            if type(entry) is FetchResult:
                buffer = self._create_buffer(tp, assignment, entry, raw)
                self._records[tp] = self._hold_back_records_of_new_leader(tp, raw) or buffer
            elif type(entry) is FetchError:
                del self._records[tp]
                self._handle_error(tp, assignment.state_value(tp), entry._error)
        return woke

    def _create_buffer(self, tp: ClientPartition, assignment: Any, result: Any, raw: bytes) -> Buffer:
        buffer = self._create_decoder(Buffer, tp, raw, result, self._max_decompressed_bytes)
        buffer.assignment = assignment
        buffer.created_at_s = result._created
        buffer.backoff_s = result._backoff
        return buffer

    def is_receiving_slowly(self, tp: ClientPartition | None = None) -> bool:
        """Whether a slow answer is arriving that may bring the next records of the partition (or of any).

        A fetch that is older than the longest allowed silence would have been aborted if its answer made no progress.
        """
        before_s = time.monotonic() - self._client.silence_limit_s(FetchRequest)
        return any(
            since_s < before_s and (tp is None or _asks_for(request, tp)) for request, since_s in self._running.items()
        )

    def next_fetched_timestamp_ms(self, tp: ClientPartition) -> int | None:
        """The timestamp of the record at the position; None if it has not been fetched."""
        entry = self._records.get(tp)
        at_ms = entry.next_fetched_timestamp_ms if isinstance(entry, Buffer) and entry.is_current(tp) else None
        return at_ms if at_ms is not None and at_ms >= 0 else None

    def _handle_error(self, tp: ClientPartition, state: Any, error: Exception) -> None:
        match error:
            case kafka.RecordTooLargeError():
                # aiokafka has moved past the record that did not fit (aiokafka-defects.md#large-records). Move back,
                # and fetch more.
                offset = state.position - 1
                state.consumed_to(offset)
                self._enlarge_fetch_or_block_partition(tp, offset, error)
            case kafka.OffsetOutOfRangeError():
                self._out_of_range[tp] = state.position
                state.await_reset(OffsetResetStrategy.NONE)
            case _:
                self._on_failure(translate_error(error, f"reading {tp.topic}[{tp.partition}]"))

    def _enlarge_fetch_or_block_partition(self, tp: ClientPartition, offset: int, error: Exception) -> None:
        if self._max_partition_fetch_bytes >= self._fetch_max_bytes:
            self._block_partition_at_unreadable_record(tp, offset, offset + 1, error)
            return
        self._max_partition_fetch_bytes = min(self._max_partition_fetch_bytes * 2, self._fetch_max_bytes)
        logger.warning(
            "%s[%d]@%d is larger than max_partition_fetch_bytes, which is raised to %d",
            tp.topic,
            tp.partition,
            offset,
            self._max_partition_fetch_bytes,
        )

    # ------------------------------------------------------------------ is the log still the one that was read?

    def _note_possible_leader_change(self, _: Any) -> None:
        self._leaders_changed = True

    def _hold_back_records_of_new_leader(self, tp: ClientPartition, raw: bytes) -> UnverifiedPosition | None:
        """Hold back records whose leader epoch is not that of the record before them.

        They are of a new leader, which may have truncated the log and then written past our position. Nothing that it
        wrote can have the epoch of the records that it removed.
        """
        fetched, known = leader_epoch_of_batch(raw), self._epochs.latest_epoch(tp)
        if fetched in (known, UNKNOWN) or known == UNKNOWN:
            return None
        self._unverified.add(tp)
        return UnverifiedPosition(fetched)

    def _get_actions_per_node(self, assignment: Any) -> Any:
        """Have unverified positions checked before anything else is fetched from their leaders."""
        if self._leaders_changed:
            self._mark_unverified_where_leader_changed(assignment)
        fetches, lookups, timeout, invalid_metadata, resumes = super()._get_actions_per_node(assignment)
        for tp in tuple(self._unverified):
            if tp not in assignment.tps or not isinstance(self._records.get(tp), UnverifiedPosition):
                self._unverified.discard(tp)  # a seek or a rebalance has come since
                continue
            leader = self._client.cluster.leader_for_partition(tp)
            if leader in (None, -1):
                invalid_metadata = True
            elif leader not in self._in_flight:
                lookups[leader].append(tp)
        fetches = [(node, request) for node, request in fetches if node not in lookups]
        return fetches, lookups, timeout, invalid_metadata, resumes

    def _mark_unverified_where_leader_changed(self, assignment: Any) -> None:
        self._leaders_changed = False
        for tp in assignment.tps:
            leader, verified = self._client.leader_and_epoch(tp), self._verified.get(tp)
            if verified is None or leader == verified or not assignment.state_value(tp).has_valid_position:
                continue  # without a position yet: it is verified when the position is found
            if tp in self._records:
                self._leaders_changed = True  # first hand out what was fetched before, then check again
            elif self._epochs.latest_epoch(tp) == UNKNOWN:
                self._verified[tp] = leader
            else:
                self._records[tp] = UnverifiedPosition(UNKNOWN)
                self._unverified.add(tp)

    def seek_to(self, tp: ClientPartition, offset: int) -> None:
        position = self._subscriptions.subscription.assignment.state_value(tp)._position
        if position is not None and offset <= position:
            self._epochs.go_back(tp, offset)
        else:
            self._epochs.forget_partition(tp)
        super().seek_to(tp, offset)

    # ------------------------------------------------------------------ start positions

    async def _update_fetch_positions(self, assignment: Any, node_id: Any, tps: Collection[ClientPartition]) -> bool:
        """Find positions for partitions that have none (aiokafka-defects.md#failed-lookup).

        aiokafka's own method takes a failed lookup for "no commit".
        """
        try:
            return await self._find_positions(assignment, node_id, tps)
        except asyncio.CancelledError:
            return False
        except (kafka.KafkaError, BrokerError) as error:
            failure = translate_error(
                error, "looking up the starting offsets of " + ", ".join(sorted({tp.topic for tp in tps}))
            )
            if isinstance(error, StaleMemberError):
                logger.debug("%s; trying again", failure)
            elif isinstance(error, UnstableOffsetError):
                self._unstable.warn_if_failing_for_long(f"{failure}; waiting until it ends")
            elif isinstance(failure, BrokerRefused) or not getattr(error, "retriable", False):
                self._on_failure(failure)
            else:
                self._warnings.warn(f"{failure}; trying again")
        try:
            await asyncio.sleep(self._retry_backoff)
        except asyncio.CancelledError:
            return False
        return True

    async def _find_positions(self, assignment: Any, node_id: Any, tps: Collection[ClientPartition]) -> bool:
        """Return True if there are resets to report.

        Raises:
            KafkaError, BrokerError: there was no answer; it is tried again unless the error is final.
        """
        open_ = [tp for tp in tps if not assignment.state_value(tp).has_valid_position]
        for tp in open_:
            if not assignment.state_value(tp).awaiting_reset:
                self._out_of_range.pop(tp, None)  # left over from an earlier assignment
        committed = await self._committed([tp for tp in open_ if tp not in self._out_of_range])
        self._unstable.forget_failures()
        leaders = {tp: self._client.leader_and_epoch(tp) for tp in tps}
        positions = self._current_or_committed_positions(assignment, tps, committed)
        diverged = await find_divergences(
            self._client, node_id, {tp: position for tp, position in positions.items() if position.epoch != UNKNOWN}
        )
        to_look_up: dict[ClientPartition, tuple[Any, int]] = {}
        for tp in tps:
            at = assignment.state_value(tp)._position
            if not _is_assigned(assignment, tp) or at != (None if tp in open_ else positions[tp].offset):
                continue  # a rebalance or a seek has come meanwhile
            self._verified[tp] = leaders[tp]
            if tp in diverged:
                self._reset_after_truncation(assignment, tp, diverged[tp], to_look_up)
            elif tp not in open_:
                self._accept_verified_leader_epoch(tp)
            elif tp in self._out_of_range or tp not in positions:
                to_look_up[tp] = self._choose_reset(tp)
            else:
                self._epochs.start_with_epoch(tp, positions[tp].epoch)
                assignment.state_value(tp).seek(positions[tp].offset)
        if to_look_up:
            await self._reset_partitions_to_log_start_or_end(assignment, node_id, to_look_up)
        return bool(self._resets)

    def _current_or_committed_positions(
        self, assignment: Any, tps: Collection[ClientPartition], committed: Mapping[ClientPartition, EpochOffset]
    ) -> dict[ClientPartition, EpochOffset]:
        """The current or committed position of each partition, with the leader epoch of the record before it."""
        positions = {}
        for tp in tps:
            state = assignment.state_value(tp)
            at = state.position if state.has_valid_position else self._out_of_range.get(tp)
            if at is not None:
                positions[tp] = EpochOffset(at, self._epochs.epoch_before(tp, at))
            elif tp in committed:
                positions[tp] = committed[tp]
        return positions

    def _accept_verified_leader_epoch(self, tp: ClientPartition) -> None:
        """The log still holds everything that was read: records of the new leader epoch may be fetched."""
        entry = self._records.get(tp)
        if isinstance(entry, UnverifiedPosition):
            at = self._subscriptions.subscription.assignment.state_value(tp).position
            self._epochs.add_read(tp, [EpochStart(at, entry.epoch)])
            self._drop_buffer(tp)

    def _reset_after_truncation(
        self,
        assignment: Any,
        tp: ClientPartition,
        divergence: Divergence,
        to_look_up: dict[ClientPartition, tuple[Any, int]],
    ) -> None:
        """The log was truncated before the position: continue where it differs from what was read."""
        self._out_of_range.pop(tp, None)
        if self._reset == "none":
            at = divergence.common_end.offset if divergence.common_end is not None else 0
            raise BrokerRefused(
                f"{tp.topic}[{tp.partition}] was truncated to offset {at} by an unclean leader election, after it had"
                f' been read up to {divergence.read_to}; auto_offset_reset is "none": commit an offset for the group'
                ' with an admin tool, or set auto_offset_reset to "earliest" or "latest"'
            )
        if divergence.common_end is None:
            # All of the log is new, as in a partition that appeared after the start.
            self._out_of_range[tp] = divergence.read_to
            to_look_up[tp] = ("truncated", OffsetResetStrategy.EARLIEST)
        else:
            self._seek_and_note_reset(assignment, tp, divergence.read_to, divergence.common_end, "truncated")

    def _seek_and_note_reset(
        self, assignment: Any, tp: ClientPartition, from_offset: int | None, to: EpochOffset, reason: Any
    ) -> None:
        self._epochs.start_with_epoch(tp, to.epoch)
        self._resets.append((assignment, OffsetReset(TopicPartition(*tp), from_offset, to.offset, reason)))
        assignment.state_value(tp).seek(to.offset)
        self._drop_buffer(tp)

    async def _reset_partitions_to_log_start_or_end(
        self, assignment: Any, node_id: Any, wanted: Mapping[ClientPartition, tuple[Any, int]]
    ) -> None:
        """Look up the beginning or end of logs, and continue there.

        Args:
            wanted: the reason, and which end of the log.
        """
        by_topic: dict[str, list[tuple[int, int]]] = {}
        for tp, (_, strategy) in wanted.items():
            by_topic.setdefault(tp.topic, []).append((tp.partition, strategy))
        offsets = await self._proc_offset_request(node_id, by_topic)
        shorter: dict[ClientPartition, tuple[Any, int]] = {}
        for tp, (reason, _) in wanted.items():
            state = assignment.state_value(tp)
            if reason == "retention" and offsets[tp][0] < self._out_of_range.get(tp, 0):
                shorter[tp] = self._choose_reset_by_configuration(tp)  # not retention: the log ends before that offset
                continue
            is_unverified = isinstance(self._records.get(tp), UnverifiedPosition)
            if _is_assigned(assignment, tp) and (is_unverified or not state.has_valid_position):
                from_offset = self._out_of_range.pop(tp, None)
                self._seek_and_note_reset(assignment, tp, from_offset, EpochOffset(offsets[tp][0], UNKNOWN), reason)
        if shorter:
            await self._reset_partitions_to_log_start_or_end(assignment, node_id, shorter)

    def _choose_reset(self, tp: ClientPartition) -> tuple[Any, int]:
        """Why there is no usable offset, and where to begin instead.

        Raises:
            BrokerRefused: `auto_offset_reset` is "none": a person must decide.
        """
        out_of_range = self._out_of_range.get(tp)
        if out_of_range is not None and self._reset != "none" and self._has_finished_offsets_after(tp, out_of_range):
            # A record that failed until retention has deleted it: the group's position lies after it.
            return "retention", OffsetResetStrategy.EARLIEST
        return self._choose_reset_by_configuration(tp)

    def _choose_reset_by_configuration(self, tp: ClientPartition) -> tuple[Any, int]:
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


def _is_assigned(assignment: Any, tp: ClientPartition) -> bool:
    """False after a rebalance that has replaced the assignment, or has taken this partition."""
    return bool(assignment.active and assignment.state_value(tp)._status is not PartitionStatus.UNASSIGNED)


def _asks_for(request: FetchRequest, tp: ClientPartition) -> bool:
    return any(topic == tp.topic and any(tp.partition == row[0] for row in rows) for topic, rows in request.topics)
