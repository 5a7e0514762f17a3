"""A consumer: a source is polled, what it brings is run and committed, and another is made when it fails.

Its parts, each with a file of its own:
- `poller.py` alone takes records from the source, and is always in the poll or on its way back into it.
- `rebalance.py` answers the client's rebalances; what is in hand (`assignment.py`) is read by all.
- `executor.py` runs attempts. Executors and lanes live as long as the consumer and outlast its sources, so that a
  thread which cannot be cancelled still holds its lane after a rebuild.
- `committer.py` commits; `supervision/watchdog.py` ends attempts at their time limit; `supervision/stop_signal.py` says
  why a source is closed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings
from evkafka.exceptions import NotAssigned
from evkafka.records import TopicPartition
from evkafka.runtime.admission import Admission
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.backend import chance
from evkafka.runtime.blocking_records import BlockingRecords
from evkafka.runtime.clock import wait_any
from evkafka.runtime.committer import Committer, commit_loop
from evkafka.runtime.corrupt_records import CorruptRecords
from evkafka.runtime.dead_letter_limit import DeadLetterLimit
from evkafka.runtime.dead_letters.retry_topics import RetryTopics
from evkafka.runtime.executor import Executor
from evkafka.runtime.interfaces import ConsumerServices, DeadLetterSink, WatchdogRounds
from evkafka.runtime.offset_check import check_each_offset
from evkafka.runtime.pending_writes import PendingWrites
from evkafka.runtime.poller import Poller
from evkafka.runtime.ports import Clock, Cluster, ConsumerIdentity, Dispatch, RecordSource, Route, Slot
from evkafka.runtime.rebalance import CUT_S, RebalanceListener
from evkafka.runtime.reporting import TelemetryReporter, UnmatchedWarning
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.settle import StopApp, Verdict, decide, decide_at_most_once
from evkafka.runtime.status import ConsumerStatus, consumer_status, overran
from evkafka.runtime.supervision.restart_policy import RestartPolicy
from evkafka.runtime.supervision.stop_deadline import CLOSE_S, StopDeadline
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.runtime.supervision.tasks import SupervisedClock, SupervisedTasks, TaskEnded
from evkafka.runtime.supervision.watchdog import Watchdog
from evkafka.runtime.time_slice import TimeSlice
from evkafka.telemetry import ConsumerLost, ConsumerStarted, ConsumerStopped, Telemetry

LEAVE_S = 2.0
"""For leaving the group and closing the connections at the stop: drain, commit and this stay under 25 s."""

LAST_COMMIT_S = 2.5

FLUSH_RESERVE_S = 1.5
"""What a consumer leaves of the stop's time for producers and lifespan, which end after it."""

LEAST_LEAVE_S = 0.5


class Consumer:
    """One `add_consumer`, running.

    Args:
        policy_for: the error policy for an endpoint, already merged.
        shortest_limit_s: the shortest time limit among consumer and endpoints.
        known_types: the event types that there are endpoints for.
        paused: partitions that are paused from the start.
        dead_letter_window: the largest window that a `dead_letter_limit` looks at; 0 where there is no limit.
        reset_dead_letter_limit: forget that a limit was reached before, once for each partition.
        retry_topics: where it reads retry topics, what they are.
        on_verdict: called when `verdict` is known.
    """

    def __init__(
        self,
        name: str,
        settings: ConsumerSettings,
        dispatch: Dispatch,
        *,
        policy_for: Callable[[Route | None], ErrorPolicySettings],
        shortest_limit_s: float,
        dead_letters: DeadLetterSink,
        cluster: Cluster,
        clock: Clock,
        telemetry: Telemetry,
        state: Mapping[str, Any],
        known_types: Collection[str] = (),
        paused: Collection[TopicPartition] = (),
        dead_letter_window: int = 0,
        reset_dead_letter_limit: bool = False,
        retry_topics: RetryTopics | None = None,
        on_verdict: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._policy_for = policy_for
        self._waited_ms = {name: retry_topic.delay_ms for name, retry_topic in (retry_topics or {}).items()}
        self._cluster = cluster
        self._clock = clock = SupervisedClock(clock, self.fail)
        self._telemetry = telemetry
        self._random = chance()
        admission = Admission(dispatch.gated) if dispatch.gated is not None else None
        lanes = LaneScheduler(clock, admission)
        self._held = held = Assignment(name, settings, lanes, clock=clock, telemetry=telemetry)
        for tp in paused:
            held.flow.close(tp, "user")
        report = TelemetryReporter(
            name, telemetry, UnmatchedWarning(name, telemetry, known=known_types, finished=held.finished)
        )
        self._report = report
        self._supervision = RestartPolicy(clock.now, self._random)
        self._on_verdict = on_verdict
        self._ending = ending = StopSignal(self._on_ending)
        limit = DeadLetterLimit(ending, 0 if held.at_most_once else dead_letter_window, resets=reset_dead_letter_limit)
        self._tasks = tasks = SupervisedTasks(name, self.fail)
        self._intake = Poller(held, ending, report, limit, retry_topics=retry_topics)
        self._unreadable = CorruptRecords(held, ending, limit, dead_letters, tasks)
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix=f"evkafka-{name}")
        last_round, time_slice = WatchdogRounds(clock.now()), TimeSlice(clock)
        services = ConsumerServices(lanes, report, clock, tasks, self._intake.note_progress, held.block, self.fail)
        self._writes = PendingWrites(
            services,
            dead_letters,
            dead_letter_limit=lambda route: policy_for(route).dead_letter_limit,
            at_most_once=held.at_most_once,
        )
        identity = ConsumerIdentity(
            name, settings.group_id, settings.connection.client_id, settings.connection.cluster_name
        )
        self._executors = [
            Executor(
                Slot(identity, state, self._threads),
                services,
                dispatch=dispatch,
                decide=self._decide,
                writes=self._writes,
                last_round=last_round,
                time_slice=time_slice,
                limit_s=settings.max_endpoint_exec_time_s,
            )
            for _ in range(settings.concurrency)
        ]
        self._assignment = RebalanceListener(held, ending, self._executors, report, self._unreadable)
        self._hold_ups = BlockingRecords(name, held.partitions, held.flow)
        self._watchdog = Watchdog(
            held,
            self._executors,
            shortest_limit_s=shortest_limit_s,
            last_round=last_round,
            report=report,
            each_second=self._hold_ups.look,
            on_failure=self.fail,
        )
        self._rebuilds = 0
        self._deadline = StopDeadline(clock, math.inf)

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
        self._tasks.adopt(asyncio.current_task())
        for number in range(len(self._executors)):
            self._start_executor(number)
        self._watchdog.start()
        failure: BaseException | None = None
        try:
            while not self._ending.stopping.done():
                try:
                    await self._live()
                except Exception as error:  # the one place: the supervision's rule says what it means
                    await self._before_rebuild(error)
        except BaseException as error:
            failure = error
            raise
        finally:
            await self._tasks.run_to_end(self._end)
            self._telemetry.emit(ConsumerStopped(self.name, failure))

    async def close(self) -> None:
        """Let go of a consumer that was started and is never run."""
        source, self._held.source = self._held.source, None
        if source is not None:
            await source.stop(timeout_s=self._leave_s())

    def stop(self, deadline: StopDeadline | None = None) -> None:
        """Take no more records, let those in flight end within the drain time, commit, leave. Idempotent.

        Args:
            deadline: what bounds all of it, beside each step's own time.
        """
        self._deadline = deadline or self._deadline
        self._ending.stop()

    def fail(self, error: BaseException) -> None:
        """The source is beyond use, or the app must stop. A record's verdict outweighs a source's failure."""
        self._ending.fail(error)

    @property
    def verdict(self) -> BaseException | None:
        """What ends it for good, once that is known: what it has in flight may still be draining."""
        return self._ending.verdict

    def _on_ending(self) -> None:
        self._held.flow.room.set()
        if self.verdict is not None:
            self._on_verdict()

    def kill(self) -> None:
        """End at once: no drain, no commit, no leaving. What a crash does, for tests of crashes."""
        self._tasks.close()
        self._watchdog.stop()
        self._unreadable.stop()
        self._writes.stop()
        for executor in self._executors:
            executor.kill()

    def _start_executor(self, number: int) -> None:
        executor = self._executors[number]

        def ended(error: BaseException) -> None:
            self._start_executor(number)
            self.fail(error)

        executor.start(f"executor-{number}", ended)

    # ------------------------------------------------------------------ one source's life

    async def _connect(self) -> RecordSource:
        source = self._cluster.source(self.settings)
        try:
            await source.start(self._assignment)
        except BaseException:
            await source.stop(timeout_s=LEAVE_S)
            raise
        held = self._held
        held.committer = Committer(source, consumer=self.name, clock=self._clock, telemetry=self._telemetry)
        held.source = source
        self._telemetry.emit(ConsumerStarted(self.name, self._rebuilds))
        return source

    async def _live(self) -> None:
        """Poll and commit until the app stops or the source fails; give everything back; raise what failed."""
        source = self._held.source or await self._tasks.run_to_end(self._reconnect)
        if source is None:
            return
        self._intake.open = True
        self._watchdog.watch(source)
        tasks = [
            self._tasks.start("poll", self._intake.run(source, self._watchdog.polled)),
            self._tasks.start("commit", commit_loop(self._held, while_true=lambda: self._intake.open)),
        ]
        try:
            failure = await self._tasks.run_to_end(self._first_failure)
            # The poll goes on meanwhile, without reading: it keeps the membership that the last commit needs.
            await self._tasks.run_to_end(
                lambda: self._assignment.release_all(self._drain_s(failure), self._last_commit_s)
            )
        finally:
            await self._tasks.run_to_end(lambda: self._discard(source, tasks))
        if failure := self._ending.final_failure(failure):
            raise failure

    async def _first_failure(self) -> BaseException | None:
        """Wait for the stop (None) or for what ended this source's life."""
        failure, stopping = self._ending.failure, self._ending.stopping
        await asyncio.wait([failure, stopping], return_when=asyncio.FIRST_COMPLETED)
        return failure.exception() if failure.done() else None

    def _drain_s(self, failure: BaseException | None) -> float:
        own, ends = self.settings, failure is None or isinstance(failure, StopApp)
        return self._deadline.at_most(own.drain_timeout_s if ends else own.revoke_drain_timeout_s, reserve_s=CLOSE_S)

    def _last_commit_s(self) -> float:
        return self._deadline.at_most(LAST_COMMIT_S, reserve_s=FLUSH_RESERVE_S + LEAST_LEAVE_S)

    def _leave_s(self) -> float:
        return self._deadline.at_most(LEAVE_S, reserve_s=FLUSH_RESERVE_S)

    async def _before_rebuild(self, failure: Exception) -> None:
        """The source is gone: wait before the next one. Raises where the rule allows none."""
        wait_s = self._supervision.wait_s(failure)
        if wait_s is None:
            raise failure
        self._rebuilds += 1
        self._ending.reset()
        self._telemetry.emit(ConsumerLost(self.name, failure, wait_s))
        await self._tasks.run_to_end(lambda: wait_any(self._clock, self._ending.stopping, timeout_s=wait_s))

    async def _reconnect(self) -> RecordSource | None:
        """A new source; None where the app stops meanwhile."""
        if self._held.source is not None:  # found by an earlier call, which was cancelled from outside
            return self._held.source
        connecting = self._tasks.start("connect", self._connect(), on_failure=lambda _: None, returns=True)
        try:
            await wait_any(self._clock, connecting, self._ending.stopping, timeout_s=None)
        finally:
            if not connecting.done():
                self._tasks.cancel(connecting)
                await asyncio.wait({connecting}, timeout=LEAVE_S)
        if not connecting.done():
            return None
        if connecting.cancelled():
            if self._ending.stopping.done():
                return None
            raise TaskEnded(f"consumer {self.name} was connecting, and somebody else has cancelled it")
        source = connecting.result()
        self._supervision.recovered()
        return source

    async def _discard(self, source: RecordSource, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Leave the poll by its own timeout if it can be, and close the source, by force if need be."""
        held = self._held
        self._intake.open = False
        self._watchdog.watch(None)
        held.flow.room.set()
        held.commit_due.set()
        self._tasks.allow_end(*tasks)
        poll = tasks[0]
        if not poll.done() and not self._ending.failure.done():
            # A cancelled poll leaves the client unusable, which no longer matters once it is stopped; but one
            # that returns by itself is the gentler end.
            await wait_any(self._clock, poll, timeout_s=self._leave_s() / 2)
        self._tasks.cancel(*tasks)
        await source.stop(timeout_s=self._leave_s())
        await asyncio.wait({asyncio.gather(*tasks, return_exceptions=True)}, timeout=CUT_S)
        held.source = held.committer = None

    async def _end(self) -> None:
        """Nothing of this consumer runs on, but threads that cannot be stopped."""
        await self.close()  # told to stop before its first turn, it still holds what `start` connected
        self._watchdog.stop()
        self._unreadable.stop()
        self._writes.stop()
        ending = [task for executor in self._executors if (task := executor.kill()) is not None]
        if ending:
            await asyncio.wait(ending, timeout=self._deadline.at_most(CUT_S, reserve_s=FLUSH_RESERVE_S))
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._report.flush()
        self._tasks.close()

    # ------------------------------------------------------------------ by a user's wish

    def pause(self, tp: TopicPartition) -> None:
        """Read no more of it and begin none of its records, until `resume`; also after rebalances. Idempotent."""
        held = self._held
        held.flow.close(tp, "user")
        if (partition := held.partitions.get(tp)) is not None:
            held.lanes.pause(partition)

    def resume(self, tp: TopicPartition) -> None:
        """Undo `pause`. Idempotent."""
        held = self._held
        held.flow.open(tp, "user")
        if (partition := held.partitions.get(tp)) is not None:
            held.lanes.resume(partition)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on at this offset, which is committed at once. What is under way ends and counts for nothing.

        Raises:
            NotAssigned: the partition is not this member's now.
        """
        held = self._held
        partition, source = held.partitions.get(tp), held.source
        if partition is None or partition.leaving or source is None:
            ours = ", ".join(f"{one.topic}[{one.partition}]" for one in sorted(held.partitions)) or "none"
            raise NotAssigned(
                f"consumer {self.name!r} cannot seek in {tp.topic}[{tp.partition}], which is not assigned to it now;"
                f" assigned are {ours}"
            )
        held.lanes.close(partition)  # what was read and has not begun is not lost: it was left by the user's wish
        partition = held.begin_anew(partition)
        source.seek(tp, offset)
        partition.arrive(offset)
        held.commit_due.set()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are this member's now."""
        return frozenset(self._held.partitions)

    # ------------------------------------------------------------------ verdicts, figures

    def _decide(self, topic: str, route: Route | None, outcome: Any, attempt: int) -> Verdict:
        if self._held.at_most_once:
            return decide_at_most_once(outcome)
        return decide(
            outcome,
            attempt=attempt,
            policy=self._policy_for(route),
            unmatched=self.settings.unmatched,
            waited_ms=self._waited_ms.get(topic, 0),
            random=self._random,
        )

    def status(self) -> ConsumerStatus:
        """What it is doing now, for health, metrics and pages."""
        stopping = self._ending.stopping.done()
        return consumer_status(
            self._held, self.at_work, self._watchdog, self._hold_ups, rebuilds=self._rebuilds, stopping=stopping
        )

    @property
    def pending(self) -> int:
        """Records read and not finished, or finished behind an unfinished one, or not due yet."""
        return self._held.pending + sum(len(partition.early) for partition in self._held.partitions.values())

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
        found = self._held.partitions.get(TopicPartition(topic, partition))
        return found.ledger.oldest if found is not None else None

    @property
    def tasks(self) -> Sequence[asyncio.Task[Any]]:
        """Its tasks that run now, for tests, in the order of their starts."""
        return self._tasks.running

    def check_offsets(self) -> None:
        """Every open offset is in exactly one place. For tests, which call it between two steps of the loop.

        Raises:
            OffsetMisplaced: one is not.
        """
        check_each_offset(self._held.partitions.values(), self._executors)

    @property
    def connected(self) -> bool:
        """True while it has a source."""
        return self._held.source is not None

    @property
    def uncommitted(self) -> bool:
        """True while something is committable and not confirmed yet."""
        return self._held.uncommitted

    @property
    def cut_at_stop(self) -> int:
        """Attempts that the stop's drain time did not suffice for."""
        return self._assignment.cut_at_stop

    @property
    def overran(self) -> list[Executor]:
        """Executors held by an endpoint that ran past its limit and cannot be cut."""
        return overran(self.at_work)
