"""A consumer: it polls a source, runs and commits what the polls return, and creates a new source when one fails.

Its parts, each in its own file, are connected in `consumer_factory.py`:
- `poller.py` alone takes records from the source, and is always in a poll or about to begin the next one.
- `rebalance.py` answers the client's rebalances. `assignment.py` holds the partitions; all parts read it.
- `executor.py` runs attempts. Executors and the scheduler live as long as the consumer and outlast its sources, so that
  a thread which cannot be cancelled still blocks its lane after a restart.
- `committer.py` commits; `watchdog.py` ends attempts at their time limit; `supervision/stop_signal.py` says
  why a source is closed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings
from evkafka.exceptions import CommitUnknown, NotAssigned, StopApp
from evkafka.records import TopicPartition
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.backend import random_source
from evkafka.runtime.blocking_records import BlockingRecords
from evkafka.runtime.clock import sleep, wait_any
from evkafka.runtime.committer import COMMIT_TIMEOUT_S, Committer, Transactions
from evkafka.runtime.consumer_watchdog import ConsumerWatchdog
from evkafka.runtime.corrupt_records import CorruptRecords
from evkafka.runtime.dead_letter_limit import LimitReset
from evkafka.runtime.dead_letters.retry_topics import RetryTopics
from evkafka.runtime.executor import Executor
from evkafka.runtime.interfaces import DeadLetterSink
from evkafka.runtime.lost_or_doubled_records import check_open_offsets_against_lanes
from evkafka.runtime.pending_writes import PendingWrites
from evkafka.runtime.poller import Poller
from evkafka.runtime.ports import Clock, Cluster, Dispatch, OutputRefused, RecordSource, Route
from evkafka.runtime.rebalance import CANCEL_S, RebalanceListener
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.status import ConsumerStatus, consumer_status, overrunning_executors
from evkafka.runtime.supervision.restart_policy import RestartPolicy
from evkafka.runtime.supervision.stop_deadline import CLOSE_S, StopDeadline
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.runtime.supervision.tasks import SupervisedTasks, TaskEnded
from evkafka.runtime.transaction_scope import TransactionScope
from evkafka.telemetry import ConsumerLost, ConsumerStarted, ConsumerStopped, Telemetry

LEAVE_S = 2.0
"""Time to leave the group and close the connections at the stop: drain, commit and this stay under 25 s."""

LAST_COMMIT_S = 2.5

FLUSH_RESERVE_S = 1.5
"""What a consumer leaves of the stop's time for producers and lifespan, which end after it."""

LEAST_LEAVE_S = 0.5


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """What one consumer consumes, and how.

    Attributes:
        policy_for: the error policy of an endpoint, merged over the consumer's.
        shortest_limit_s: the shortest time limit among consumer and endpoints.
        state: what the app's lifespan yielded.
        known_types: the event types that there are endpoints for.
        paused: partitions that are paused from the start.
        dead_letter_window: the largest window of a `dead_letter_limit`; 0 if there is no limit.
        limit_reset: whether the app continues after its `dead_letter_limit` was reached.
        retry_topics: the retry topics that it reads; None if it reads none.
        transaction_scope: set if it commits in transactions (exactly once).
    """

    name: str
    settings: ConsumerSettings
    dispatch: Dispatch
    policy_for: Callable[[Route | None], ErrorPolicySettings]
    shortest_limit_s: float
    dead_letters: DeadLetterSink
    state: Mapping[str, Any]
    known_types: Collection[str] = ()
    paused: Collection[TopicPartition] = ()
    dead_letter_window: int = 0
    limit_reset: LimitReset = field(default_factory=LimitReset)
    retry_topics: RetryTopics | None = None
    transaction_scope: TransactionScope | None = None


@dataclass(frozen=True, slots=True)
class ConsumerEnvironment:
    """What a consumer reaches outside of itself; the test kit has its own.

    Attributes:
        random: random numbers in [0, 1), for the jitter of backoffs.
    """

    cluster: Cluster
    clock: Clock
    telemetry: Telemetry
    random: Callable[[], float] = field(default_factory=random_source)


@dataclass(frozen=True, slots=True)
class ConsumerParts:
    """The parts of one consumer, connected with each other."""

    assignment: Assignment
    stop_signal: StopSignal
    restart_policy: RestartPolicy
    tasks: SupervisedTasks
    report: TelemetryReporter
    corrupt_records: CorruptRecords
    poller: Poller
    writes: PendingWrites
    threads: ThreadPoolExecutor
    executors: Sequence[Executor]
    rebalance_listener: RebalanceListener
    blocking_records: BlockingRecords
    watchdog: ConsumerWatchdog


class Consumer:
    """One `add_consumer`, running. Created by `build_consumer`."""

    def __init__(
        self, parts: ConsumerParts, cluster: Cluster, transaction_scope: TransactionScope | None = None
    ) -> None:
        self._assignment = assignment = parts.assignment
        self.name = assignment.name
        self.settings = assignment.settings
        self._cluster = cluster
        self._transaction_scope = transaction_scope
        self._clock = assignment.clock
        self._telemetry = assignment.telemetry
        self._stop_signal = parts.stop_signal
        self._restart_policy = parts.restart_policy
        self._tasks = parts.tasks
        self._report = parts.report
        self._corrupt_records = parts.corrupt_records
        self._poller = parts.poller
        self._writes = parts.writes
        self._threads = parts.threads
        self._executors = parts.executors
        self._rebalance_listener = parts.rebalance_listener
        self._blocking_records = parts.blocking_records
        self._watchdog = parts.watchdog
        self._restarts = 0
        self._deadline = StopDeadline(self._clock, math.inf)

    # ------------------------------------------------------------------ life

    async def connect_and_subscribe(self) -> None:
        """Connect and subscribe for the first time.

        Raises:
            BrokerUnavailable, BrokerRefused, BrokerError: why it could not.
        """
        await self._connect_source_once()

    async def run(self) -> None:
        """Consume until `stop()`; create a new source when one fails, as the restart policy allows.

        Raises:
            StopApp, BrokerError: the failure that no new source can help against.
        """
        self._tasks.adopt_task(asyncio.current_task())
        for number in range(len(self._executors)):
            self._start_executor(number)
        self._watchdog.start()
        failure: BaseException | None = None
        try:
            while not self._stop_signal.stopping.done():
                try:
                    await self._consume_until_stop()
                except Exception as error:  # the one place: the restart policy decides what follows
                    await self._wait_before_restart(error)
        except BaseException as error:
            failure = error
            raise
        finally:
            await self._tasks.run_step_again_if_cancelled(self._end_tasks)
            self._telemetry.emit(ConsumerStopped(self.name, failure))

    async def close_source_if_connected(self) -> None:
        """Close the source of a consumer that has connected and is not run."""
        source, self._assignment.source = self._assignment.source, None
        if source is not None:
            await source.stop(timeout_s=self._leave_timeout_s())

    def stop(self, deadline: StopDeadline | None = None) -> None:
        """Take no more records, let those in flight end within the drain time, commit, leave. Idempotent.

        Args:
            deadline: limits all of it, beside each step's own time.
        """
        self._deadline = deadline or self._deadline
        self._stop_signal.stop()

    def fail(self, error: BaseException) -> None:
        """The source is unusable, or the app must stop. A record's verdict takes precedence over a source's failure."""
        self._stop_signal.fail(error)

    @property
    def fatal_error(self) -> BaseException | None:
        """The failure that ends it for good, once that is known: records in flight may still be draining."""
        return self._stop_signal.fatal_error

    def kill(self) -> None:
        """End at once: no drain, no commit, no leaving. As a crash does, for tests of crashes."""
        self._tasks.allow_all_to_end()
        self._assignment.commit_timer.stop()
        self._watchdog.stop()
        self._corrupt_records.cancel_all_dead_letters()
        self._writes.cancel_all_writes()
        for executor in self._executors:
            executor.kill()

    def _start_executor(self, number: int) -> None:
        executor = self._executors[number]

        def on_end(error: BaseException) -> None:
            self._start_executor(number)
            self.fail(error)

        executor.start(f"executor-{number}", on_end)

    # ------------------------------------------------------------------ one source's life

    async def _connect_source_once(self) -> RecordSource:
        settings, scope = self.settings, self._transaction_scope
        source = self._cluster.source(settings)
        try:
            await source.start(self._rebalance_listener)
        except BaseException:
            await source.stop(timeout_s=LEAVE_S)
            raise
        assignment = self._assignment
        transactions = (
            None if scope is None else Transactions(scope, assignment.is_assigned_and_not_being_revoked, self.fail)
        )
        assignment.committer = Committer(
            source,
            consumer=self.name,
            group=settings.group_id or "",
            clock=self._clock,
            telemetry=self._telemetry,
            metadata_limit=assignment.metadata_limit,
            transactions=transactions,
        )
        assignment.source = source
        self._telemetry.emit(ConsumerStarted(self.name, self._restarts))
        return source

    async def _consume_until_stop(self) -> None:
        """Poll and commit until the app stops or the source fails; give all partitions back; raise the failure."""
        source = self._assignment.source or await self._tasks.run_step_again_if_cancelled(
            self._reconnect_unless_stopped
        )
        if source is None:
            return
        self._poller.running = True
        self._watchdog.set_watched_source(source)
        tasks = [
            self._tasks.start_task("poll", self._poller.run(source, self._watchdog.note_poll)),
            self._tasks.start_task("commit", self._commit_loop()),
        ]
        try:
            failure = await self._tasks.run_step_again_if_cancelled(self._wait_for_stop_and_return_failure)
            # Meanwhile the poll continues without reading: it raises a failure of the source.
            await self._tasks.run_step_again_if_cancelled(
                lambda: self._rebalance_listener.release_all_partitions(
                    self._drain_timeout_s(failure), self._last_commit_timeout_s
                )
            )
        finally:
            await self._tasks.run_step_again_if_cancelled(lambda: self._close_source(source, tasks))
        if failure := self._stop_signal.stored_stop_app_else_given_failure(failure):
            raise failure

    async def _commit_loop(self) -> None:
        """Commit when the timer says so, and at once when something asks for it (a seek, a reset)."""
        assignment, timer = self._assignment, self._assignment.commit_timer
        if assignment.at_most_once:
            await asyncio.get_running_loop().create_future()  # the client, or the poller, commits
        while self._poller.running:
            await timer.due.wait()
            timer.restart()
            committer = assignment.committer
            if committer is None:
                continue
            if not await committer.commit(assignment.partitions.values(), timeout_s=self._commit_timeout_s):
                await sleep(self._clock, max(self.settings.commit_interval_s, 1.0))
                timer.due.set()
            elif self._transaction_scope is not None:
                assignment.flow.reopen_partitions_with_room()  # what was sent does not fill the memory any more

    async def _wait_for_stop_and_return_failure(self) -> BaseException | None:
        """Wait for the stop (None) or for the failure that ends this source's life."""
        failure, stopping = self._stop_signal.failure, self._stop_signal.stopping
        await asyncio.wait([failure, stopping], return_when=asyncio.FIRST_COMPLETED)
        return failure.exception() if failure.done() else None

    def _drain_timeout_s(self, failure: BaseException | None) -> float:
        settings, ends = self.settings, failure is None or isinstance(failure, StopApp)
        if self._transaction_scope is not None and isinstance(failure, CommitUnknown | OutputRefused):
            return 0.0  # the records are read again: no attempt counts any more
        drain_s = settings.drain_timeout_s if ends else settings.revoke_drain_timeout_s
        return self._deadline.limit_timeout_s(drain_s, reserve_s=CLOSE_S)

    @property
    def _commit_timeout_s(self) -> float:
        transactions = self.settings.transaction_settings
        return COMMIT_TIMEOUT_S if transactions is None else transactions.timeout_s

    def _last_commit_timeout_s(self) -> float:
        return self._deadline.limit_timeout_s(LAST_COMMIT_S, reserve_s=FLUSH_RESERVE_S + LEAST_LEAVE_S)

    def _leave_timeout_s(self) -> float:
        return self._deadline.limit_timeout_s(LEAVE_S, reserve_s=FLUSH_RESERVE_S)

    async def _wait_before_restart(self, failure: Exception) -> None:
        """The source is closed: wait before the next one. Raises the failure if the restart policy allows none."""
        wait_s = self._restart_policy.advance_backoff_s(failure)
        if wait_s is None:
            raise failure
        self._restarts += 1
        self._stop_signal.clear_failure()
        self._telemetry.emit(ConsumerLost(self.name, failure, wait_s))
        await self._tasks.run_step_again_if_cancelled(
            lambda: wait_any(self._clock, self._stop_signal.stopping, timeout_s=wait_s)
        )

    async def _reconnect_unless_stopped(self) -> RecordSource | None:
        """A new source; None if the app stops meanwhile."""
        if self._assignment.source is not None:  # connected by an earlier call, which was cancelled from outside
            return self._assignment.source
        connecting = self._tasks.start_task(
            "connect", self._connect_source_once(), on_failure=lambda _: None, returns=True
        )
        try:
            await wait_any(self._clock, connecting, self._stop_signal.stopping, timeout_s=None)
        finally:
            if not connecting.done():
                self._tasks.cancel_and_allow_end(connecting)
                await asyncio.wait({connecting}, timeout=LEAVE_S)
        if not connecting.done():
            return None
        if connecting.cancelled():
            if self._stop_signal.stopping.done():
                return None
            raise TaskEnded(f"consumer {self.name} was cancelled by code outside EVKafka while it was connecting")
        source = connecting.result()
        self._restart_policy.note_recovered()
        return source

    async def _close_source(self, source: RecordSource, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let the poll return by its own timeout if possible, and close the source, by force if necessary."""
        self._poller.running = False
        self._watchdog.set_watched_source(None)
        self._assignment.flow.room.set()
        self._assignment.commit_timer.due.set()
        self._tasks.allow_end(*tasks)
        poll = tasks[0]
        if not poll.done() and not self._stop_signal.failure.done():
            # A cancelled poll leaves the client unusable, which no longer matters once it is stopped; but a poll
            # that returns by itself lets the client end cleanly.
            await wait_any(self._clock, poll, timeout_s=self._leave_timeout_s() / 2)
        self._tasks.cancel_and_allow_end(*tasks)
        await source.stop(timeout_s=self._leave_timeout_s())
        await asyncio.wait({asyncio.gather(*tasks, return_exceptions=True)}, timeout=CANCEL_S)
        self._assignment.end_all_partitions()  # what the group has assigned during the stop
        self._assignment.source = self._assignment.committer = None

    async def _end_tasks(self) -> None:
        """End every task of this consumer. Only threads that cannot be stopped run on."""
        # Stopped before its first turn, it still has the source of `connect_and_subscribe`.
        await self.close_source_if_connected()
        self._assignment.commit_timer.stop()
        self._watchdog.stop()
        self._corrupt_records.cancel_all_dead_letters()
        self._writes.cancel_all_writes()
        killed = [task for executor in self._executors if (task := executor.kill()) is not None]
        if killed:
            await asyncio.wait(killed, timeout=self._deadline.limit_timeout_s(CANCEL_S, reserve_s=FLUSH_RESERVE_S))
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._report.flush()
        self._tasks.allow_all_to_end()

    # ------------------------------------------------------------------ pause, resume, seek

    def pause_partition(self, tp: TopicPartition) -> None:
        """Read no more of it and begin none of its records, until `resume`; also after rebalances. Idempotent."""
        assignment = self._assignment
        assignment.flow.add_reason(tp, "user")
        if (partition := assignment.partitions.get(tp)) is not None:
            assignment.scheduler.pause_partition(partition)

    def resume_partition(self, tp: TopicPartition) -> None:
        """Undo `pause`. Idempotent."""
        assignment = self._assignment
        assignment.flow.remove_reason(tp, "user")
        if (partition := assignment.partitions.get(tp)) is not None:
            assignment.scheduler.resume_partition(partition)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Continue at this offset, which is committed at once. Running attempts end, and count for nothing.

        Raises:
            NotAssigned: the partition is not assigned to this member now.
        """
        assignment = self._assignment
        partition, source = assignment.partitions.get(tp), assignment.source
        if partition is None or partition.is_being_revoked or source is None:
            assigned = ", ".join(f"{one.topic}[{one.partition}]" for one in sorted(assignment.partitions)) or "none"
            raise NotAssigned(
                f"consumer {self.name!r} cannot seek in {tp.topic}[{tp.partition}], which is not assigned to it; it is"
                f" assigned {assigned}"
            )
        # With pre-commit, unfinished records are not reported as lost: the user has asked to leave them.
        assignment.scheduler.close_partition_and_drop_unbegun(partition)
        partition = assignment.replace_partition_with_new_ledger(partition)
        source.seek(tp, offset)
        partition.set_read_position(offset)
        assignment.commit_timer.due.set()

    @property
    def assigned_partitions(self) -> frozenset[TopicPartition]:
        """The partitions that are assigned to this member now."""
        return frozenset(self._assignment.partitions)

    # ------------------------------------------------------------------ status

    def status(self) -> ConsumerStatus:
        """What it is doing now, for health, metrics and pages."""
        stopping = self._stop_signal.stopping.done()
        return consumer_status(
            self._assignment,
            self.busy_executors,
            self._watchdog,
            self._blocking_records,
            rebuilds=self._restarts,
            stopping=stopping,
        )

    @property
    def pending(self) -> int:
        """Records read and not finished; those that are not due yet, or wait for this owner's mark, among them."""
        assignment = self._assignment
        return assignment.unfinished_record_count + sum(
            len(one.early) + len(one.held) for one in assignment.partitions.values()
        )

    @property
    def in_flight(self) -> int:
        """How many attempts run."""
        return len(self.busy_executors)

    @property
    def busy_executors(self) -> list[Executor]:
        """Executors that run an attempt, for the test kit and for reports."""
        return [executor for executor in self._executors if executor.slot.record is not None]

    def oldest_unfinished_offset(self, topic: str, partition: int) -> int | None:
        """The oldest unfinished offset of a partition; None if there is none, or the partition is not assigned."""
        found = self._assignment.partitions.get(TopicPartition(topic, partition))
        return found.ledger.oldest if found is not None else None

    @property
    def tasks(self) -> Sequence[asyncio.Task[Any]]:
        """Its tasks that run now, for tests, in the order of their starts."""
        return self._tasks.running_tasks

    def check_no_record_lost_or_doubled(self) -> None:
        """Check that every open offset is in exactly one place. For tests; see `runtime/lost_or_doubled_records.py`.

        Raises:
            OffsetMisplaced: one is not.
        """
        check_open_offsets_against_lanes(self._assignment.partitions.values(), self._executors)

    @property
    def connected(self) -> bool:
        """Whether it has a source."""
        return self._assignment.source is not None

    @property
    def has_uncommitted(self) -> bool:
        """Whether an offset is committable and not confirmed yet."""
        return self._assignment.has_uncommitted

    @property
    def attempts_cancelled_at_stop(self) -> int:
        """How many attempts the stop's drain time was too short for."""
        return self._rebalance_listener.attempts_cancelled_at_stop

    @property
    def overrunning_executors(self) -> list[Executor]:
        """Executors that run an endpoint which is past its limit and cannot be cancelled."""
        return overrunning_executors(self.busy_executors)
