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
from evkafka.kafka.client.log_throttle import LogThrottle
from evkafka.kafka.consumer.leader_epochs import Divergence, Place, divergences
from evkafka.kafka.consumer.record_decoder import FetchedRecords, KafkaRecord, first_epoch
from evkafka.kafka.errors import translate
from evkafka.records import OffsetReset, TopicPartition, Unreadable
from evkafka.runtime.leader_epochs import UNKNOWN, EpochStart, LeaderEpochs

logger = logging.getLogger("evkafka.runtime.kafka")


class Buffer(FetchedRecords):
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


class UnverifiedPosition:
    """In the place of a partition's records while it is not known whether its log still holds what was read.

    Attributes:
        epoch: the leader epoch of what was fetched at its position, where that made us doubt.
    """

    __slots__ = ("epoch",)

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def calculate_backoff(self) -> float:
        return 0.0


class ContainedFetcher(Fetcher):
    """aiokafka's Fetcher, contained.

    Args:
        committed: looks up the group's committed offsets of these partitions, with their leader epochs.
        epochs: the leader epochs of what was read. Written here.
        is_new: whether this partition appeared after the group's (or the groupless reader's) start.
        reset: the rule where there is no offset to go on from.
        most_unpacked: how many bytes one batch may unpack to.
        on_failure: told what ends this source's life.
    """

    def __init__(
        self,
        client: Any,
        subscriptions: Any,
        *,
        committed: Callable[[Collection[ClientPartition]], Awaitable[Mapping[ClientPartition, Place]]],
        epochs: LeaderEpochs,
        is_new: Callable[[ClientPartition], bool],
        reset: str,
        most_unpacked: int,
        on_failure: Callable[[BrokerError], object],
        **options: Any,
    ) -> None:
        super().__init__(client, subscriptions, auto_offset_reset="none", **options)
        self._committed = committed
        self._epochs = epochs
        self._leaders: dict[ClientPartition, tuple[int, int]] = {}  # node and epoch that a position was checked at
        self._leaders_due = False  # the metadata are newer than that
        self._doubted: set[ClientPartition] = set()
        self._is_new = is_new
        self._reset = reset
        self._most_unpacked = most_unpacked
        self._on_failure = on_failure
        self._warnings = LogThrottle(logger)
        self._max_partition_fetch_bytes: int
        self._out_of_range: dict[ClientPartition, int] = {}  # while the partition awaits its reset
        self._resets: list[tuple[Any, OffsetReset]] = []  # with the assignment that each belongs to
        self._under_way: dict[FetchRequest, float] = {}  # since when
        client.cluster.add_listener(self._metadata_came)

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
            if isinstance(entry, UnverifiedPosition):
                continue
            if not entry.stands(tp):
                self._forget(tp)
                continue
            records = entry.take(most)
            if entry.turns:
                self._epochs.read(tp, entry.turns)
                entry.turns.clear()
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
                    self._records[tp] = self._doubt(tp, rest[-1]) or self._buffer(tp, assignment, entry, rest[-1])
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

    def next_timestamp_ms(self, tp: ClientPartition) -> int | None:
        """When the record at the position was written, where it has been fetched."""
        entry = self._records.get(tp)
        at_ms = entry.timestamp if isinstance(entry, Buffer) and entry.stands(tp) else None
        return at_ms if at_ms is not None and at_ms >= 0 else None

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
            most_unpacked=self._most_unpacked,
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

    # ------------------------------------------------------------------ whether the log is still the one that was read

    def _metadata_came(self, _: Any) -> None:
        self._leaders_due = True

    def _doubt(self, tp: ClientPartition, raw: bytes) -> UnverifiedPosition | None:
        """Another epoch than that of the record before: a new leader's, which may have cut the log and written on past
        the position since. Nothing that it wrote can have the epoch that it cut."""
        came, known = first_epoch(raw), self._epochs.latest(tp)
        if came in (known, UNKNOWN) or known == UNKNOWN:
            return None
        self._doubted.add(tp)
        return UnverifiedPosition(came)

    def _get_actions_per_node(self, assignment: Any) -> Any:
        """Positions that are in doubt are checked before anything else is fetched from their leaders."""
        if self._leaders_due:
            self._doubt_where_leaders_changed(assignment)
        fetches, lookups, timeout, invalid_metadata, resumes = super()._get_actions_per_node(assignment)
        for tp in tuple(self._doubted):
            if tp not in assignment.tps or not isinstance(self._records.get(tp), UnverifiedPosition):
                self._doubted.discard(tp)  # a seek, or a rebalance, came meanwhile
                continue
            leader = self._client.cluster.leader_for_partition(tp)
            if leader in (None, -1):
                invalid_metadata = True
            elif leader not in self._in_flight:
                lookups[leader].append(tp)
        fetches = [(node, request) for node, request in fetches if node not in lookups]
        return fetches, lookups, timeout, invalid_metadata, resumes

    def _doubt_where_leaders_changed(self, assignment: Any) -> None:
        self._leaders_due = False
        for tp in assignment.tps:
            leader, checked = self._client.leader(tp), self._leaders.get(tp)
            if checked is None or leader == checked or not assignment.state_value(tp).has_valid_position:
                continue  # it is checked when its position is taken up
            if tp in self._records:
                self._leaders_due = True  # what was fetched before is handed out first
            elif self._epochs.latest(tp) == UNKNOWN:
                self._leaders[tp] = leader
            else:
                self._records[tp] = UnverifiedPosition(UNKNOWN)
                self._doubted.add(tp)

    def seek_to(self, tp: ClientPartition, offset: int) -> None:
        position = self._subscriptions.subscription.assignment.state_value(tp)._position
        if position is not None and offset <= position:
            self._epochs.go_back(tp, offset)
        else:
            self._epochs.forget(tp)
        super().seek_to(tp, offset)

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
        """True where there is news for the poll. Raises where there was no answer, and it is tried again."""
        open_ = [tp for tp in tps if not assignment.state_value(tp).has_valid_position]
        for tp in open_:
            if not assignment.state_value(tp).awaiting_reset:
                self._out_of_range.pop(tp, None)  # what an earlier assignment ran into
        committed = await self._committed([tp for tp in open_ if tp not in self._out_of_range])
        leaders = {tp: self._client.leader(tp) for tp in tps}
        places = self._places(assignment, tps, committed)
        parted = await divergences(
            self._client, node_id, {tp: place for tp, place in places.items() if place.epoch != UNKNOWN}
        )
        to_look_up: dict[ClientPartition, tuple[Any, int]] = {}
        for tp in tps:
            state = assignment.state_value(tp)
            if not assignment.active or state._position != (None if tp in open_ else places[tp].offset):
                continue  # a rebalance, or a seek, came meanwhile
            self._leaders[tp] = leaders[tp]
            if tp in parted:
                self._part(assignment, tp, parted[tp], to_look_up)
            elif tp not in open_:
                self._trust(tp)
            elif tp in self._out_of_range or tp not in places:
                to_look_up[tp] = self._rule(tp)
            else:
                self._epochs.begin(tp, places[tp].epoch)
                state.seek(places[tp].offset)
        if to_look_up:
            await self._look_up(assignment, node_id, to_look_up)
        return bool(self._resets)

    def _places(
        self, assignment: Any, tps: Collection[ClientPartition], committed: Mapping[ClientPartition, Place]
    ) -> dict[ClientPartition, Place]:
        """Where reading stands, or is to begin, with the leader epoch of the record before it."""
        places = {}
        for tp in tps:
            state = assignment.state_value(tp)
            at = state.position if state.has_valid_position else self._out_of_range.get(tp)
            if at is not None:
                places[tp] = Place(at, self._epochs.before(tp, at))
            elif tp in committed:
                places[tp] = committed[tp]
        return places

    def _trust(self, tp: ClientPartition) -> None:
        """The log still holds all that was read: what is fetched next may have the epoch that made us doubt."""
        entry = self._records.get(tp)
        if isinstance(entry, UnverifiedPosition):
            at = self._subscriptions.subscription.assignment.state_value(tp).position
            self._epochs.read(tp, [EpochStart(at, entry.epoch)])
            self._forget(tp)

    def _part(
        self,
        assignment: Any,
        tp: ClientPartition,
        parting: Divergence,
        to_look_up: dict[ClientPartition, tuple[Any, int]],
    ) -> None:
        """The log was cut before the position: go on where it parts from what was read."""
        self._out_of_range.pop(tp, None)
        if self._reset == "none":
            at = parting.place.offset if parting.place is not None else 0
            raise BrokerRefused(
                f"{tp.topic}[{tp.partition}] was cut at {at} by an unclean election, and was read up to"
                f' {parting.read_to}; auto_offset_reset is "none": commit an offset for the group with an admin tool,'
                ' or set auto_offset_reset to "earliest" or "latest"'
            )
        if parting.place is None:
            # All of it is new, as in a partition that appeared after the start.
            self._out_of_range[tp] = parting.read_to
            to_look_up[tp] = ("truncated", OffsetResetStrategy.EARLIEST)
        else:
            self._go_on(assignment, tp, parting.read_to, parting.place, "truncated")

    def _go_on(self, assignment: Any, tp: ClientPartition, from_offset: int | None, to: Place, reason: Any) -> None:
        self._epochs.begin(tp, to.epoch)
        self._resets.append((assignment, OffsetReset(TopicPartition(*tp), from_offset, to.offset, reason)))
        assignment.state_value(tp).seek(to.offset)
        self._forget(tp)

    async def _look_up(self, assignment: Any, node_id: Any, wanted: Mapping[ClientPartition, tuple[Any, int]]) -> None:
        """Begin where the rule says.

        Args:
            wanted: why, and which end of the log.
        """
        by_topic: dict[str, list[tuple[int, int]]] = {}
        for tp, (_, strategy) in wanted.items():
            by_topic.setdefault(tp.topic, []).append((tp.partition, strategy))
        offsets = await self._proc_offset_request(node_id, by_topic)
        for tp, (reason, _) in wanted.items():
            state = assignment.state_value(tp)
            in_doubt = isinstance(self._records.get(tp), UnverifiedPosition)
            if assignment.active and (in_doubt or not state.has_valid_position):
                from_offset = self._out_of_range.pop(tp, None)
                self._go_on(assignment, tp, from_offset, Place(offsets[tp][0], UNKNOWN), reason)

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
