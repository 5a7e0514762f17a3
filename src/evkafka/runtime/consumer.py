"""Steps 1 and 7 of 7: a consumer. It polls, hands records to lanes, commits, gives partitions back, and is made
anew when its source fails.

Who owns what:
- The poll loop alone takes records from the source, and is always in the poll or on its way back into it:
  that keeps the membership alive, also when everything is full, idle or draining.
- `_partitions` is written by the listener's calls (in the client's rebalance) and read by all. Records that come
  for a partition that is not in it, or is leaving, are dropped: its next owner reads them again.
- Executors and lanes live as long as the consumer and outlast its sources, so that a thread which cannot be
  cancelled still holds its lane after a rebuild.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evkafka.backoff import exponential
from evkafka.exceptions import BrokerRefused, CommitRefused, NotAssigned
from evkafka.ports import (
    Clock,
    Cluster,
    ConsumerIdentity,
    Dispatch,
    OffsetReset,
    Record,
    RecordSource,
    Route,
    Slot,
    TopicPartition,
    Unreadable,
)
from evkafka.runtime.ambient import chance
from evkafka.runtime.clock import sleep, wait_any
from evkafka.runtime.commits import COMMIT_TIMEOUT_S, Committer
from evkafka.runtime.executor import RESET_DEAD_LETTER_LIMIT, DeadLetters, Executor, LastRound
from evkafka.runtime.flow import NONE, Flow
from evkafka.runtime.gate import Gate
from evkafka.runtime.lane import Lanes
from evkafka.runtime.misses import Misses
from evkafka.runtime.partition import Partition
from evkafka.runtime.report import Report
from evkafka.runtime.settle import StopApp, Verdict, decide, decide_at_most_once
from evkafka.runtime.status import AttemptStatus, ConsumerStatus, PartitionStatus
from evkafka.runtime.supervision import Supervision
from evkafka.runtime.tally import Tally
from evkafka.runtime.turn import Turn
from evkafka.runtime.watchdog import Watchdog
from evkafka.settings import ConsumerSettings, ErrorPolicySettings
from evkafka.telemetry import (
    CommitFailed,
    ConsumerLost,
    ConsumerStarted,
    ConsumerStopped,
    PartitionBlocked,
    PartitionsAssigned,
    PartitionsRevoked,
    PositionReset,
    RecordsLost,
    Telemetry,
)

CUT_S = 1.0
"""How long a cancelled attempt may take to end before it is left behind."""

LEAVE_S = 2.0
"""For leaving the group and closing the connections at the stop: drain, commit and this stay under 25 s."""

LAST_COMMIT_S = 2.5


class Consumer:
    """One `add_consumer`, running.

    Args:
        policy_for: the error policy for an endpoint, already merged.
        shortest_limit_s: the shortest time limit among consumer and endpoints.
        known_types: the event types that there are endpoints for.
        paused: partitions that are paused from the start.
        dead_letter_window: the largest window that a `dead_letter_limit` looks at; 0 where there is no limit.
        reset_dead_letter_limit: forget that a limit was reached before, once for each partition.
    """

    def __init__(
        self,
        name: str,
        settings: ConsumerSettings,
        dispatch: Dispatch,
        *,
        policy_for: Callable[[Route | None], ErrorPolicySettings],
        shortest_limit_s: float,
        dead_letters: DeadLetters,
        cluster: Cluster,
        clock: Clock,
        telemetry: Telemetry,
        state: Mapping[str, Any],
        known_types: Collection[str] = (),
        paused: Collection[TopicPartition] = (),
        dead_letter_window: int = 0,
        reset_dead_letter_limit: bool = False,
    ) -> None:
        self.name = name
        self.settings = settings
        self._policy_for = policy_for
        self._cluster = cluster
        self._clock = clock
        self._telemetry = telemetry
        self._random = chance()
        self._at_most_once = settings.auto_commit_mode == "pre-commit"
        self._commits_first = self._at_most_once and settings.auto_commit_interval_s == 0
        self._dead_letter_window = 0 if self._at_most_once else dead_letter_window
        self._resets_limit = reset_dead_letter_limit
        self._limit_reset: set[TopicPartition] = set()
        self._ordering = "partition" if settings.concurrency == 1 else settings.ordering

        self._partitions: dict[TopicPartition, Partition] = {}
        self._flow = Flow(settings, self._partitions)
        for tp in paused:
            self._flow.close(tp, "user")
        self._lanes = Lanes(clock)
        if dispatch.gated is not None:
            self._lanes.gate = Gate(dispatch.gated, clock, self._lanes.make_ready)
        self._taken = 0  # records put into lanes, but for those that were let go unfinished
        self._report = Report(name, telemetry, Misses(name, telemetry, known=known_types, finished=self._finished))
        self._supervision = Supervision(clock.now, self._random)
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix=f"evkafka-{name}")
        last_round, turn = LastRound(clock.now()), Turn(clock)
        identity = ConsumerIdentity(
            name, settings.group_id, settings.connection.client_id, settings.connection.cluster_name
        )
        self._executors = [
            Executor(
                Slot(identity, state, self._threads),
                lanes=self._lanes,
                dispatch=dispatch,
                decide=self._decide,
                dead_letters=dead_letters,
                report=self._report,
                clock=clock,
                last_round=last_round,
                turn=turn,
                progress=self._note_progress,
                limit_s=settings.max_endpoint_exec_time_s,
                dead_letter_limit=lambda route: policy_for(route).dead_letter_limit,
            )
            for _ in range(settings.concurrency)
        ]
        self._watchdog = Watchdog(
            settings=settings,
            executors=self._executors,
            partitions=self._partitions,
            shortest_limit_s=shortest_limit_s,
            last_round=last_round,
            report=self._report,
            clock=clock,
            on_stall=self.fail,
        )
        self._source: RecordSource | None = None
        self._committer: Committer | None = None
        self.cut_at_stop = 0
        self._rebuilds = 0
        self._positions_due_s = 0.0
        self._polling = False
        self._progressed = False
        self._intake = asyncio.Lock()  # held from a poll's return until its records are in their lanes
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commit_due = asyncio.Event()

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect and subscribe for the first time.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: what kept it from it.
        """
        await self._connect()

    async def run(self) -> None:
        """Consume until `stop()`; make the source anew when it fails, as the supervision's rule allows.

        Raises:
            StopApp, BrokerError: what it cannot be saved from.
        """
        for executor in self._executors:
            executor.start(self._executor_died)
        self._watchdog.start()
        failure: BaseException | None = None
        try:
            while not self._stopping.done():
                try:
                    await self._live()
                except Exception as error:  # the one place: the supervision's rule says what it means
                    await self._before_rebuild(error)
        except BaseException as error:
            failure = error
            raise
        finally:
            await self._end()
            self._telemetry.emit(ConsumerStopped(self.name, failure))

    async def close(self) -> None:
        """Let go of a consumer that was started and is never run."""
        source, self._source = self._source, None
        if source is not None:
            await source.stop(timeout_s=LEAVE_S)

    def stop(self) -> None:
        """Take no more records, let those in flight end within the drain time, commit, leave. Idempotent."""
        if not self._stopping.done():
            self._stopping.set_result(None)
            self._flow.room.set()

    def fail(self, error: BaseException) -> None:
        """The source is beyond use, or the app must stop. A record's verdict outweighs a source's failure."""
        if self._failure.done():
            if not isinstance(error, StopApp) or isinstance(self._failure.exception(), StopApp):
                return
            self._failure = asyncio.get_running_loop().create_future()
        self._failure.set_exception(error)
        self._failure.exception()  # taken: the loop need not report it
        self._flow.room.set()

    def kill(self) -> None:
        """End at once: no drain, no commit, no leaving. What a crash does, for tests of crashes."""
        self._watchdog.stop()
        for executor in self._executors:
            executor.kill()

    def _executor_died(self, executor: Executor, error: BaseException) -> None:
        if not isinstance(error, StopApp):
            executor.start(self._executor_died)
        self.fail(error)

    # ------------------------------------------------------------------ one source's life

    async def _connect(self) -> RecordSource:
        source = self._cluster.source(self.settings)
        try:
            await source.start(self)
        except BaseException:
            await source.stop(timeout_s=LEAVE_S)
            raise
        self._committer = Committer(source, consumer=self.name, clock=self._clock, telemetry=self._telemetry)
        self._source = source
        self._telemetry.emit(ConsumerStarted(self.name, self._rebuilds))
        return source

    async def _live(self) -> None:
        """Poll and commit until the app stops or the source fails; give everything back; raise what failed."""
        source = self._source or await self._reconnect()
        if source is None:
            return
        self._polling = True
        self._watchdog.watch(source)
        tasks = [asyncio.ensure_future(self._poll_loop(source)), asyncio.ensure_future(self._commit_loop())]
        try:
            failure = await self._first_failure(tasks)
            # The poll goes on meanwhile, without reading: it keeps the membership that the last commit needs.
            await self._release(list(self._partitions.values()), self._drain_s(failure), LAST_COMMIT_S)
        finally:
            await self._discard(source, tasks)
        if failure := self._worse(failure):
            raise failure

    async def _first_failure(self, tasks: Sequence[asyncio.Task[None]]) -> BaseException | None:
        """Wait for the stop (None) or for what ended this source's life."""
        ends: list[asyncio.Future[None]] = [self._failure, *tasks]
        await asyncio.wait([*ends, self._stopping], return_when=asyncio.FIRST_COMPLETED)
        for ended in ends:
            if ended.done() and not ended.cancelled() and (error := ended.exception()) is not None:
                return error
        return None

    def _drain_s(self, failure: BaseException | None) -> float:
        if failure is None or isinstance(failure, StopApp):
            return self.settings.drain_timeout_s
        return self.settings.revoke_drain_timeout_s

    def _worse(self, failure: BaseException | None) -> BaseException | None:
        """While draining, a record's verdict may have come that outweighs what we stopped for."""
        if self._failure.done() and isinstance(later := self._failure.exception(), StopApp):
            return later
        return failure

    async def _before_rebuild(self, failure: Exception) -> None:
        """The source is gone: wait before the next one. Raises where the rule allows none."""
        wait_s = self._supervision.wait_s(failure)
        if wait_s is None:
            raise failure
        self._rebuilds += 1
        self._failure = asyncio.get_running_loop().create_future()
        self._telemetry.emit(ConsumerLost(self.name, failure, wait_s))
        await wait_any(self._clock, self._stopping, timeout_s=wait_s)

    async def _reconnect(self) -> RecordSource | None:
        """A new source; None where the app stops meanwhile."""
        connecting = asyncio.ensure_future(self._connect())
        await wait_any(self._clock, connecting, self._stopping, timeout_s=None)
        if not connecting.done():
            connecting.cancel()
            await asyncio.wait({connecting})
            return None
        source = connecting.result()
        self._supervision.recovered()
        return source

    async def _discard(self, source: RecordSource, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Leave the poll by its own timeout if it can be, and close the source, by force if need be."""
        self._polling = False
        self._watchdog.watch(None)
        self._flow.room.set()
        self._commit_due.set()
        poll = tasks[0]
        if not poll.done() and not self._failure.done():
            # A cancelled poll leaves the client unusable, which no longer matters once it is stopped; but one
            # that returns by itself is the gentler end.
            await wait_any(self._clock, poll, timeout_s=LEAVE_S / 2)
        for task in tasks:
            task.cancel()
        await source.stop(timeout_s=LEAVE_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._source = self._committer = None

    async def _end(self) -> None:
        """Nothing of this consumer runs on, but threads that cannot be stopped."""
        await self.close()  # told to stop before its first turn, it still holds what `start` connected
        self._watchdog.stop()
        ending = [task for executor in self._executors if (task := executor.kill()) is not None]
        if ending:
            await asyncio.wait(ending, timeout=CUT_S)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._report.flush()

    # ------------------------------------------------------------------ step 1: poll and hand out

    async def _poll_loop(self, source: RecordSource) -> None:
        settings = self.settings
        while self._polling:
            wanted = self._wanted()
            closed = wanted is not None and not wanted
            batches = await source.poll(
                wanted,
                timeout_s=0 if closed else settings.consumer_timeout_s,
                max_records=self._poll_size(),
            )
            self._watchdog.polled()
            if batches:
                await self._take(source, batches)
            if not batches or self._clock.now() >= self._positions_due_s:
                self._read_positions(source)
            if batches:
                await asyncio.sleep(0)  # the executors' turn, also when the next poll would return at once
            if closed:
                await self._wait_for_room()

    def _wanted(self) -> Collection[TopicPartition] | None:
        if self._stopping.done() or self._failure.done() or self._poll_size() == 0:
            return NONE
        return self._flow.wanted()

    def _poll_size(self) -> int:
        """How many records the next poll may bring. At most once, no more than one poll's worth is in hand."""
        most = self.settings.max_poll_records
        return most - self.pending if self._at_most_once else most

    async def _wait_for_room(self) -> None:
        """Nothing can be read now. Half a second at most, for the membership wants a poll now and then."""
        room = self._flow.room
        room.clear()
        if not self._stopping.done():
            self._progress()  # what was finished since may have made room already
        if self._polling and not room.is_set():
            waiter = asyncio.ensure_future(room.wait())
            try:
                await wait_any(self._clock, waiter, timeout_s=0.5)
            finally:
                waiter.cancel()
        await asyncio.sleep(0)  # neither this nor a poll of nothing need suspend: others must have their turn

    async def _take(self, source: RecordSource, batches: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Put what the poll returned into its partitions' lanes; positions are read in this same step."""
        if self._commits_first:
            await self._commit_and_take(source, batches)
            return
        for tp, records in batches.items():
            self._open(source, tp, records)

    def _open(self, source: RecordSource, tp: TopicPartition, records: Sequence[Record]) -> None:
        partition = self._partitions.get(tp)
        if not records:
            return
        if partition is None or not self._takes(partition):
            self._hand_back(source, tp, records[0])
            return
        if not self._within_limit(source, partition):
            return
        self._taken += len(records)
        partition.take(records, source.position(tp))
        self._flow.took(partition)
        if self._lanes.gate is not None and (self._flow.is_full(tp) or self._poll_size() == 0):
            self._lanes.gate.hurry(partition)

    def _takes(self, partition: Partition) -> bool:
        """Whether its records may still begin. At most once, what comes while it is leaving has its drain time too."""
        return not (partition.closed or (partition.leaving and not self._at_most_once))

    def _hand_back(self, source: RecordSource, tp: TopicPartition, first: Record) -> None:
        """A poll under way has brought records of a partition that was given back meanwhile.

        Post-commit, nothing is to be done: they are not committed. At most once the client commits its position, at
        its stop too, and that has moved past them in this very step: moved back, their next reader gets them.
        """
        if self._at_most_once:
            source.seek(tp, first.offset)

    async def _commit_and_take(self, source: RecordSource, batches: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """At most once, strictly: nothing runs before its commit has been confirmed.

        A revoke waits for the lock, so the records are in their lanes before it drains them. When the answer
        stays out, none of them is run: the source is made anew and reads on from whatever was written.
        """
        async with self._intake:
            assigned = dict(self._partitions)
            offsets = {
                tp: records[-1].offset + 1
                for tp, records in batches.items()
                if records and (partition := assigned.get(tp)) is not None and self._takes(partition)
            }
            try:
                await source.commit(offsets, timeout_s=COMMIT_TIMEOUT_S)
            except CommitRefused as error:
                # Nothing was written, for a rebalance has begun: the next owner reads these records again.
                self._telemetry.emit(CommitFailed(self.name, offsets, error))
                return
            for tp, records in batches.items():
                if self._partitions.get(tp) is assigned.get(tp):  # else somebody has sought elsewhere meanwhile
                    self._open(source, tp, records)

    def _read_positions(self, source: RecordSource) -> None:
        """Where the client stands in this step, all that it handed out being in the ledgers: what is idle may be
        committed up to here, so that lag reads 0 behind transaction markers."""
        self._positions_due_s = self._clock.now() + 1.0
        for tp, partition in self._partitions.items():
            # What a poll under way brings for one that is leaving is dropped, and the client stands behind it.
            if not partition.leaving and source.position(tp) is not None and self._within_limit(source, partition):
                partition.arrive(source.position(tp))
        if self.settings.auto_commit_interval_s == 0 and self.uncommitted:
            self._commit_due.set()

    def _within_limit(self, source: RecordSource, partition: Partition) -> bool:
        """False where its dead-letter limit was reached, in an earlier life too: nothing of it is read, and the app
        stops. To be asked once the position is known: what was kept beside the commit is known with it."""
        window, tp = self._dead_letter_window, partition.tp
        if not window:
            return True
        if partition.tally is None:
            partition.tally = Tally.from_text(source.metadata(tp), window)
            if self._resets_limit and tp not in self._limit_reset:
                self._limit_reset.add(tp)
                if partition.tally.as_text():
                    partition.tally = Tally(window)
                    partition.tally.unsaved = True
        if partition.tally.stopped:
            self.fail(
                StopApp(
                    f"{tp.topic}[{tp.partition}]: its `dead_letter_limit` was reached; {RESET_DEAD_LETTER_LIMIT}",
                )
            )
        return not partition.tally.stopped

    def _note_progress(self) -> None:
        """An executor got on. It is looked at once for all of them, on the loop's next round."""
        if not self._progressed:
            self._progressed = True
            asyncio.get_running_loop().call_soon(self._progress)

    def _progress(self) -> None:
        self._progressed = False
        self._flow.progress()
        self._report.flush()
        if self._at_most_once and not self._flow.room.is_set():
            if self.pending <= self.settings.max_poll_records // 2:
                self._flow.room.set()
        elif self.settings.auto_commit_interval_s == 0:
            self._commit_due.set()

    # ------------------------------------------------------------------ step 7: commit

    async def _commit_loop(self) -> None:
        """On the interval, and at once when something asks for it (a reset; interval 0)."""
        interval_s = self.settings.auto_commit_interval_s
        if self._at_most_once:
            await asyncio.get_running_loop().create_future()  # the client, or `_commit_and_take`, commits
        while self._polling:
            due = asyncio.ensure_future(self._commit_due.wait())
            try:
                await wait_any(self._clock, due, timeout_s=interval_s or None)
            finally:
                due.cancel()
            self._commit_due.clear()
            if self._committer is not None and not await self._committer.commit(self._partitions.values()):
                await sleep(self._clock, max(interval_s, 1.0))
                self._commit_due.set()

    # ------------------------------------------------------------------ the source's calls

    async def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Let what runs end within the drain time, commit it, and give the partitions back."""
        async with self._intake:
            going = [self._partitions[tp] for tp in partitions if tp in self._partitions]
        try:
            await self._release(going, self.settings.revoke_drain_timeout_s, COMMIT_TIMEOUT_S)
        except BrokerRefused as error:
            self.fail(error)

    async def on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        """A new assignment, a new epoch: new ledgers for all of it."""
        for left in tuple(self._partitions.values()):
            # The old assignment ended without a revoke: nothing of it may be committed any more.
            self._drop(left)
        for tp in partitions:
            self._flow.forget(tp)
            self._partitions[tp] = self._new_partition(tp)
        self._flow.room.set()
        self._telemetry.emit(PartitionsAssigned(self.name, tuple(sorted(partitions))))

    def on_reset(self, reset: OffsetReset) -> None:
        """The position that the rule found is committed at once: a crash before the first commit skips nothing."""
        self._telemetry.emit(PositionReset(self.name, reset))
        partition = self._partitions.get(reset.partition)
        if partition is None:
            return
        if partition.ledger.pending or partition.begun:
            partition = self._begin_anew(partition)
        partition.arrive(reset.to_offset)
        self._commit_due.set()

    def on_unreadable(self, unreadable: Unreadable) -> None:
        """Hold back the partition and try again after a while, or go on behind it where the policy has an end."""
        tp, policy, source = unreadable.partition, self.settings.on_error, self._source
        partition = self._partitions.get(tp)
        if partition is None or source is None:
            return
        skips = self._at_most_once or (policy.max_attempts is not None and policy.then != "stop")
        self._telemetry.emit(PartitionBlocked(self.name, tp, unreadable.offset, unreadable.error, skipped=skips))
        if skips:
            source.seek(tp, unreadable.next_offset)
            return
        if policy.max_attempts is not None:
            self.fail(
                StopApp(
                    f"{tp.topic}[{tp.partition}]@{unreadable.offset} cannot be read, and `then` says stop",
                    unreadable.error,
                )
            )
            return
        partition.unreadable += 1
        partition.held = True
        self._flow.close(tp, "unreadable")
        self._clock.call_later(
            exponential(
                partition.unreadable,
                first_s=policy.backoff_s,
                multiplier=policy.backoff_multiplier,
                most_s=policy.max_backoff_s,
                jitter=0,
                random=lambda: 0.5,
            ),
            lambda: self._read_again(partition),
        )

    def _read_again(self, partition: Partition) -> None:
        partition.held = False
        if self._partitions.get(partition.tp) is partition:
            self._flow.open(partition.tp, "unreadable")

    # ------------------------------------------------------------------ giving partitions back

    async def _release(self, going: list[Partition], drain_s: float, commit_s: float) -> None:
        """Give partitions back: let what runs end, cut what does not, commit, seal.

        Post-commit, what has not begun is let go at once, its next owner reads it. Pre-commit, its offset may
        be committed already, so it is still run within the drain time, and what is left is lost, by address.
        """
        going = [partition for partition in going if not partition.ledger.sealed]
        if not going:
            return
        for partition in going:
            partition.leaving = True
            if not self._at_most_once:
                partition.clear()
                continue
            self._lanes.resume(partition)  # by a user's wish or not: what was received is still run
            if self._lanes.gate is not None:
                self._lanes.gate.hurry(partition)
        await self._quiet(going, drain_s)
        self._left([record for partition in going for record in partition.close()])
        cut = self._cut(going)
        if self._stopping.done():
            self.cut_at_stop += cut
        if cut:
            await self._quiet(going, CUT_S)
        if commit_s and self._committer is not None and not self._at_most_once:
            await self._committer.commit(going, timeout_s=commit_s)
        for partition in going:
            self._drop(partition)
        self._report.flush()
        self._telemetry.emit(PartitionsRevoked(self.name, tuple(sorted(p.tp for p in going)), cut))

    async def _quiet(self, going: list[Partition], timeout_s: float) -> None:
        if any(partition.busy for partition in going):
            # A revoke and the stop may wait for the same partition; the one that gives up cancels the other's wait.
            all_quiet = asyncio.gather(*(partition.quiet() for partition in going), return_exceptions=True)
            await wait_any(self._clock, all_quiet, timeout_s=timeout_s)
            if not all_quiet.done():
                all_quiet.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await all_quiet

    def _cut(self, going: list[Partition]) -> int:
        """Cancel the attempts that the drain time did not suffice for; a thread runs on, and its lane with it."""
        count = 0
        for executor in self._executors:
            if executor.lane is not None and executor.lane.partition in going:
                count += 1
                executor.cancel("abandoned")
        return count

    def _drop(self, partition: Partition) -> None:
        partition.leaving = True
        self._left(partition.close())
        self._taken -= partition.ledger.unfinished
        partition.seal()
        if self._partitions.get(partition.tp) is partition:
            del self._partitions[partition.tp]
            self._flow.forget(partition.tp)

    def _left(self, records: Sequence[Record]) -> None:
        """These were read and will not be run here. Post-commit their next reader gets them."""
        if records and self._at_most_once:
            addresses = tuple((record.topic, record.partition, record.offset) for record in records)
            self._telemetry.emit(RecordsLost(self.name, addresses))

    def _new_partition(self, tp: TopicPartition) -> Partition:
        partition = Partition(tp, self._lanes, ordering=self._ordering)
        partition.paused = "user" in self._flow.reasons(tp)
        return partition

    def _begin_anew(self, partition: Partition) -> Partition:
        """It is read on from somewhere else: a new ledger, to which nothing of what is under way counts any more."""
        tally = partition.tally_up()
        self._drop(partition)
        self._partitions[partition.tp] = partition = self._new_partition(partition.tp)
        partition.tally = tally
        return partition

    # ------------------------------------------------------------------ by a user's wish

    def pause(self, tp: TopicPartition) -> None:
        """Read no more of it and begin none of its records, until `resume`; also after rebalances. Idempotent."""
        self._flow.close(tp, "user")
        if (partition := self._partitions.get(tp)) is not None:
            self._lanes.pause(partition)

    def resume(self, tp: TopicPartition) -> None:
        """Undo `pause`. Idempotent."""
        self._flow.open(tp, "user")
        if (partition := self._partitions.get(tp)) is not None:
            self._lanes.resume(partition)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on at this offset, which is committed at once. What is under way ends and counts for nothing.

        Raises:
            NotAssigned: the partition is not this member's now.
        """
        partition, source = self._partitions.get(tp), self._source
        if partition is None or partition.leaving or source is None:
            ours = ", ".join(f"{one.topic}[{one.partition}]" for one in sorted(self._partitions)) or "none"
            raise NotAssigned(
                f"consumer {self.name!r} cannot seek in {tp.topic}[{tp.partition}], which is not assigned to it now;"
                f" assigned are {ours}"
            )
        partition.close()  # what was read and has not begun is not lost: it was left by the user's wish
        partition = self._begin_anew(partition)
        source.seek(tp, offset)
        partition.arrive(offset)
        self._commit_due.set()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are this member's now."""
        return frozenset(self._partitions)

    # ------------------------------------------------------------------ verdicts, figures

    def _decide(self, route: Route | None, outcome: Any, attempt: int) -> Verdict:
        if self._at_most_once:
            return decide_at_most_once(outcome)
        return decide(
            outcome,
            attempt=attempt,
            policy=self._policy_for(route),
            unmatched=self.settings.unmatched,
            random=self._random,
        )

    def status(self) -> ConsumerStatus:
        """What it is doing now, for health, metrics and pages."""
        settings, source, watchdog, now_s = self.settings, self._source, self._watchdog, self._clock.now()
        overran = self.overran
        return ConsumerStatus(
            name=self.name,
            group_id=settings.group_id,
            topics=tuple(topic.name for topic in settings.topics)
            or ((settings.topic_pattern.pattern,) if settings.topic_pattern is not None else ()),
            required=settings.required,
            membership=source.state() if source is not None else "none",
            partitions=tuple(self._status_of(partition, source) for partition in self._partitions.values()),
            attempts=tuple(_status_of(executor, now_s, overran=executor in overran) for executor in self.at_work),
            silent_s=watchdog.silent_s,
            joining_s=watchdog.joining_s,
            longest_poll_s=watchdog.longest_poll_s,
            rebuilds=self._rebuilds,
            stopping=self._stopping.done(),
        )

    def _status_of(self, partition: Partition, source: RecordSource | None) -> PartitionStatus:
        tp, ledger = partition.tp, partition.ledger
        return PartitionStatus(
            topic=tp.topic,
            partition=tp.partition,
            position=source.position(tp) if source is not None else None,
            committed=partition.committed,
            end=source.end_offset(tp) if source is not None else None,
            pending=ledger.pending,
            oldest=ledger.oldest,
            oldest_timestamp_ms=self._written_ms(partition),
            retrying=partition.waiting(),
            held=partition.held,
            paused=partition.paused,
            full=self._flow.is_full(tp),
        )

    def _written_ms(self, partition: Partition) -> int | None:
        """The timestamp of the oldest unfinished record, where it is at work or the first of its lane."""
        oldest = partition.ledger.oldest
        if oldest is None:
            return None
        running = (executor.slot.record for executor in self.at_work)
        first = (lane.queue[0] for lane in partition.lanes() if lane.queue)
        for record in (*running, *first):
            if record is not None and record.offset == oldest and (record.topic, record.partition) == partition.tp:
                return record.timestamp if record.timestamp >= 0 else None
        return None

    @property
    def pending(self) -> int:
        """Records read and not finished, or finished behind an unfinished one."""
        return sum(partition.ledger.pending for partition in self._partitions.values())

    def _finished(self) -> int:
        return self._taken - sum(partition.ledger.unfinished for partition in self._partitions.values())

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return sum(executor.slot.record is not None for executor in self._executors)

    @property
    def at_work(self) -> list[Executor]:
        """Executors with an attempt under way, for the test kit and for reports."""
        return [executor for executor in self._executors if executor.slot.record is not None]

    def oldest(self, topic: str, partition: int) -> int | None:
        """The oldest unfinished offset of a partition; None where nothing of it is open, or it is not ours."""
        found = self._partitions.get(TopicPartition(topic, partition))
        return found.ledger.oldest if found is not None else None

    @property
    def connected(self) -> bool:
        """True while it has a source."""
        return self._source is not None

    @property
    def uncommitted(self) -> bool:
        """True while something is committable and not confirmed yet."""
        return not self._at_most_once and any(p.to_commit() is not None for p in self._partitions.values())

    @property
    def overran(self) -> list[Executor]:
        """Executors held by an endpoint that ran past its limit and cannot be cut."""
        return [e for e in self._executors if e.overrun is not None and e.overrun is e.slot.record]


def _status_of(executor: Executor, now_s: float, *, overran: bool) -> AttemptStatus:
    slot = executor.slot
    record, route = slot.record, slot.route
    assert record is not None
    return AttemptStatus(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        event_type=route.event_type if route is not None else None,
        endpoint=route.name if route is not None else "",
        attempt=slot.attempt,
        age_s=max(now_s - executor.started_s, 0.0),
        overran=overran,
    )
