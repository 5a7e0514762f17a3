"""Steps 3 and 5 of 7: attempts. An executor takes a ready lane and walks its records, one after the other.

The walk is the hottest code of the program: at concurrency 1 it makes no task, lock, future, log call or event
for a record, and awaits the endpoint itself. What is not the plain way (an error, an outcome, a time limit)
leaves the loop body for a method of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Literal

from evkafka.exceptions import EndpointTimeout
from evkafka.outcomes import Failed, Unmatched
from evkafka.records import Record
from evkafka.runtime.admission import Batch, Gated
from evkafka.runtime.attempt_context import first_context
from evkafka.runtime.batch_executor import BatchWalk
from evkafka.runtime.deadline import remaining
from evkafka.runtime.failure_cause import Fatal, classify_exception
from evkafka.runtime.interfaces import ABANDONED, DecideFor, Reporter, WatchdogRounds
from evkafka.runtime.partition import Partition
from evkafka.runtime.pending_writes import PendingWrites, SettledBehind
from evkafka.runtime.ports import Clock, Dispatch, Slot
from evkafka.runtime.scheduler import Lane, LaneScheduler
from evkafka.runtime.settle import (
    Finish,
    SendToDeadLetter,
    SendToRetryTopic,
    StopApp,
    StopConsuming,
    Wait,
    address_of,
    classify,
    error_of,
)
from evkafka.runtime.supervision.tasks import SupervisedTasks, TaskEnded
from evkafka.runtime.time_slice import TimeSlice

logger = logging.getLogger("evkafka.runtime")

STINT_S = 0.001
"""How long one lane is walked while others wait."""

BLOCKED_AFTER_S = 1.0
"""An attempt that held the loop itself for this long is named in the log."""

AttemptCall = Callable[[Record, Slot], "Awaitable[object] | None"]

Order = Literal["timeout", "abandoned", "killed"]
"""Why an executor's task is cancelled by us: the attempt is past its time limit; its partition is given back; the
executor ends. What cancels it without an order comes from outside, and ends nothing but the attempt that it strikes."""


class NotNow(BaseException):
    """A record that must pass the gate (see `admission.py`) was met in the middle of a lane. Never seen by users."""


class Executor:
    """Runs one attempt at a time, for as long as its consumer lives.

    Attributes:
        slot: the attempt under way. Written here and by the dispatch; the watchdog reads it.
        lane: the lane under way, None between lanes.
        started_s: when the attempt under way began, on the consumer's clock.
        overrun: the record whose endpoint ran past its limit and cannot be cut; written by the watchdog.
    """

    def __init__(
        self,
        slot: Slot,
        *,
        lanes: LaneScheduler,
        dispatch: Dispatch,
        decide: DecideFor,
        writes: PendingWrites,
        report: Reporter,
        clock: Clock,
        last_round: WatchdogRounds,
        turn: TimeSlice,
        progress: Callable[[], None],
        tasks: SupervisedTasks,
        block: Callable[[Partition], None],
        on_failure: Callable[[BaseException], object],
        limit_s: float,
    ) -> None:
        self.slot = slot
        self.lane: Lane | None = None
        self.started_s = 0.0
        self.overrun: Record | None = None
        self._lanes = lanes
        self._call = dispatch.call if dispatch.gated is None else self._guarded(dispatch.call, dispatch.gated)
        self._dispatch = dispatch
        self._decide = decide
        self._writes = writes
        self._report = report
        self._clock = clock
        self._last_round = last_round
        self._turn = turn
        self._progress = progress
        self._tasks = tasks
        self._block = block
        self._on_failure = on_failure
        self._limit_s = limit_s
        self._batch: BatchWalk | None = None
        self._clean = self._context = Context()
        self._start: Callable[[], asyncio.Task[None]]
        self._order: Order | None = None
        self._used = False  # an attempt has left something in the task under way
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ life

    def start(self, what: str, on_end: Callable[[BaseException], None]) -> None:
        """Begin to take lanes.

        Args:
            what: the task's name.
            on_end: called where the executor ends by anything but its own `kill`.
        """
        self._clean = first_context()
        self._clean.run(remaining.set, self.left_s)  # once, for all attempts: sends in them ask
        self._start = lambda: self._tasks.start(what, self._run(), on_end, context=self._context)
        self._begin_new_task()

    def _begin_new_task(self) -> None:
        """Go on in a task to which nothing belongs that an attempt has left behind: no context variable, no deadline.

        A variable that was not there before cannot be taken out of a running task's context. And who has cancelled a
        task may cancel it again: a cancel scope of anyio that was left open does so in each round of the loop. A task
        for each record would cost more than all else that is done for it: there is one where an attempt left something.
        """
        self._used = False
        self._context = self._clean.copy()
        self._tasks.allow_end(self._task)
        self._task = self._start()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that endpoints run in; None before the start."""
        return self._task

    @property
    def in_flight(self) -> Collection[Record]:
        """The records taken out of the lane under way and not finished."""
        if self._batch is not None:
            return self._batch.open_records
        return () if self.slot.record is None else (self.slot.record,)

    def cancel(self, order: Literal["timeout", "abandoned"]) -> bool:
        """Cut the attempt under way. False where that cannot be: between attempts, and while a thread has it.

        What stands around a plain `def` endpoint (middleware) can be cut, before and after the thread's part. A call
        that waits for a thread is taken back; one whose result is on its way here is left its result.
        """
        slot = self.slot
        if self._task is None or slot.record is None:
            return False
        if self._order is None:
            call = slot.thread_future
            if call is not None and slot.route is not None and slot.route.threaded and not call.cancel():
                return False
            self._order = order
            self._task.cancel()
        return True

    def kill(self) -> asyncio.Task[None] | None:
        """End the executor, wherever it is. Nothing else does."""
        self._order = "killed"
        self._tasks.cancel(self._task)
        return self._task

    async def _run(self) -> None:
        try:
            await self._take_lanes()
        except asyncio.CancelledError as stray:
            # Between two attempts, when nothing is in flight here: a deadline that an endpoint left behind.
            self._survive(stray)
        except GeneratorExit:
            if not self._is_running():
                raise
        if self._order != "killed":
            self._begin_new_task()

    async def _take_lanes(self) -> None:
        """Take lanes and walk them, one after the other. Returns once an attempt has left something in this task."""
        lanes, now, turn = self._lanes, self._clock.now, self._turn
        while True:
            if not lanes.crowded:
                await lanes.wait_for_one()
            if now() > turn.ends_s:  # asked before a lane is taken, which would wait in our hands
                await self._end_turn()
            lane = lanes.take()
            if lane is None:  # others were faster
                continue
            self.lane = lane
            try:
                if isinstance(lane, Batch):
                    await self._walk_batch(lane)
                else:
                    await self._walk(lane)
            except BaseException as error:
                self._walk_failed(lane, error)
            finally:
                self.lane = self._batch = None
                self.slot.record = None
                lanes.put_down(lane)
                self._progress()
            if self._is_used():
                return

    def _is_used(self) -> bool:
        """Whether an attempt has set a context variable and has not set it back, or somebody else has cancelled us."""
        try:
            return self._used or self._context != self._clean
        except Exception:  # two values that cannot be compared are not the same
            return True

    def _walk_failed(self, lane: Lane, error: BaseException) -> None:
        """The record in flight stays unfinished, so that none behind it may run: neither those of its lane, nor what a
        poll under way still brings. All in this step, for other executors run before the consumer gets to stop."""
        if isinstance(error, GeneratorExit) and self._batch is None and self._is_running():
            return  # the walk has ended: see `raised`
        self._block(lane.partition)
        if self._order == "killed":
            raise error
        if isinstance(error, Exception):
            self._on_failure(error)
        else:
            self._on_failure(TaskEnded(f"{type(error).__name__} while {lane.partition.tp} was handled"))
            raise error

    # ------------------------------------------------------------------ time limits

    def limit_s(self) -> float:
        """How long the attempt at hand may take: its event type's limit, else the consumer's."""
        route = self.slot.route
        return route.timeout_s if route is not None and route.timeout_s is not None else self._limit_s

    def left_s(self) -> float | None:
        """How much of that is left; None between attempts. Endpoints' threads ask too."""
        if self.slot.record is None:
            return None
        return self.limit_s() - (self._clock.now() - self.started_s)

    # ------------------------------------------------------------------ the way of one record

    def _guarded(self, call: AttemptCall, gated: Gated) -> AttemptCall:
        """`Dispatch.call` for records that `Admission` has let through; any other record ends the walk of its lane."""

        def guarded(record: Record, slot: Slot) -> Awaitable[object] | None:
            if self.lane is None or gated(record) is not self.lane.permit:
                raise NotNow
            return call(record, slot)

        return guarded

    async def _walk(self, lane: Lane) -> None:
        """Run the lane's records in order, until it is empty, must wait, or others must have their turn."""
        queue, finish = lane.queue, lane.partition.ledger.finish
        slot, call, now, report = self.slot, self._call, self._clock.now, self._report
        assert self._task is not None
        cancelling, context, clean = self._task.cancelling, self._context, self._clean
        slot.attempt = lane.attempt
        durations_s = report.plain_durations(lane.partition.tp.topic)
        started = now()
        stint_ends = min(self._turn.ends_s, started + STINT_S)
        self.started_s = started
        while queue:
            try:
                unclean = context != clean  # by identity, where nothing was set
            except Exception:  # two values that cannot be compared are not the same
                unclean = True
            if unclean or cancelling():  # nothing that an attempt has left behind may reach the next one
                self._used = True
                lane.attempt = slot.attempt
                return
            slot.record = record = queue.popleft()
            try:
                attempt = call(record, slot)
                result = await attempt if attempt is not None else self._dispatch.unmatched(record)
            except BaseException as error:  # the one place: `raised` says what it means, or lets it pass
                result = self.raised(error, record)
            if result is None and self._order is None:
                finish(record.offset)
                ended = now()
                if durations_s is not None:
                    durations_s[slot.route].append(ended - started)
                slot.attempt = 1
            else:
                goes_on = await self._settle(lane, record, result, now() - started)
                if not goes_on:
                    return
                if self._used:
                    break
                ended = now()
            if ended > stint_ends:
                if ended - started > BLOCKED_AFTER_S and self._last_round.at_s < started:
                    report.blocked(slot, record, ended - started)
                if ended > self._turn.ends_s:  # which another executor may have begun meanwhile
                    await self._end_turn()
                if self._used or self._lanes.crowded:
                    break
                ended = now()
                stint_ends = min(self._turn.ends_s, ended + STINT_S)
            started = self.started_s = ended
        lane.attempt = 1

    async def _walk_batch(self, batch: Batch) -> None:
        walk = self._batch = BatchWalk(
            self, batch, lanes=self._lanes, decide=self._decide, report=self._report, clock=self._clock
        )
        started = self._clock.now()
        await walk.walk(self._dispatch.open_batch, ABANDONED)
        took_s = self._clock.now() - started
        if took_s > BLOCKED_AFTER_S and self._last_round.at_s < started and self.slot.record is not None:
            self._report.blocked(self.slot, self.slot.record, took_s)

    def raised(self, error: BaseException, record: Record) -> object:
        """What an exception out of an attempt means. Lets pass what must end the executor."""
        match error:
            case asyncio.CancelledError():
                return self._cancelled(error, record)
            case NotNow():
                return error
            case GeneratorExit() if not self._is_running():  # the loop is gone, and takes us with it
                raise error
            case GeneratorExit():
                self._used = True  # thrown into this task by another, it closes each coroutine: none may await more
        match classify_exception(error):
            case Fatal(error=fatal):
                raise StopApp(f"{type(fatal).__name__} while handling {address_of(record)}", error)
            case meaning:
                return meaning

    def _cancelled(self, error: asyncio.CancelledError, record: Record) -> object:
        """What a cancelled attempt means, by the order that was given; one exception may stand for several."""
        match self._order:
            case "killed":
                raise error
            case "timeout":
                return Failed(self._timeout(record))
            case "abandoned":
                return ABANDONED
            case None if self._tasks.ignores_cancellation:
                self._used = True  # the endpoint awaited what was cancelled, or somebody cancelled its task
                return Failed(error)
            case None:
                raise error

    async def _settle(self, lane: Lane, record: Record, result: object, duration_s: float) -> bool:
        """Steps 5 and 6: from the result to a verdict, and carry it out. False where the walk must end here."""
        await self.end_cancellation()
        slot = self.slot
        if isinstance(result, NotNow):
            lane.queue.appendleft(record)
            lane.attempt = slot.attempt
            return False
        if result is ABANDONED:
            self._report.dropped(slot, record)
            return False
        outcome = classify(result)
        if isinstance(outcome, Unmatched):
            self._report.unmatched(record, outcome)
        verdict = self._decide(record.topic, slot.route, outcome, slot.attempt)
        match verdict:
            case Finish(status=status):
                if isinstance(outcome, Failed):
                    self._report.failed(slot, record, outcome.error, verdict)
                return self._finish(lane, record, status, duration_s)
            case Wait(delay_s=delay_s):
                self._report.failed(slot, record, error_of(outcome), verdict)
                self._report.finished(slot, record, "retried", duration_s)
                self._put_back(lane, record, delay_s)
                return False
            case SendToRetryTopic() | SendToDeadLetter():
                self._report.failed(slot, record, verdict.error, verdict)
                self.begin_write(lane, record, verdict, duration_s)
                lane.attempt = 1
                return False
            case StopConsuming(reason=reason, error=error):
                self._report.failed(slot, record, error, verdict)
                raise StopApp(f"{address_of(record)} stops the app: {reason}", error)

    def _finish(self, lane: Lane, record: Record, status: str, duration_s: float) -> bool:
        if not lane.partition.ledger.finish(record.offset):
            # The partition was taken away meanwhile: this result is too late to count.
            self._report.dropped(self.slot, record)
            return False
        self._report.finished(self.slot, record, status, duration_s)
        self.slot.attempt = 1
        return True

    def _put_back(self, lane: Lane, record: Record, delay_s: float) -> None:
        """The record stays the lane's first, and the lane waits. Unless its partition is going: then it is let go."""
        if lane.partition.begins_nothing:
            return
        lane.queue.appendleft(record)
        lane.attempt = self.slot.attempt + 1
        self._lanes.wait(lane, delay_s)

    def begin_write(
        self, lane: Lane, record: Record, verdict: SendToRetryTopic | SendToDeadLetter, duration_s: float
    ) -> None:
        """It goes to another topic, and is the lane's until that is confirmed.

        Raises:
            StopApp: the partition's `dead_letter_limit` is reached.
        """
        self._writes.begin(lane, record, self.slot, verdict, duration_s)

    def hold_behind(self, lane: Lane, behind: Sequence[SettledBehind]) -> None:
        self._writes.hold_behind(lane, behind)

    @property
    def at_most_once(self) -> bool:
        return self._writes.at_most_once

    # ------------------------------------------------------------------ small things

    async def _end_turn(self) -> None:
        """Let other tasks have the loop if they must, and the memory bounds and the books see how far we are."""
        self.slot.record = None  # nothing runs: a time limit must not hit us here
        self._progress()
        if self._turn.is_over():
            try:
                await self._turn.next()
            except asyncio.CancelledError as stray:
                self._survive(stray)

    async def end_cancellation(self) -> None:
        """Whatever cancelled the attempt that has just ended, by our order or not, has done its work: forget it.

        Raises:
            asyncio.CancelledError: the executor was killed meanwhile.
        """
        assert self._task is not None
        if self._order is None and not self._task.cancelling():
            return
        with self._untimed():
            self._used |= self._order is None
            if self._order != "killed":
                self._uncancel()
                try:
                    # Up to Python 3.12 a cancellation that has not struck yet outlives its count: it strikes here.
                    await asyncio.sleep(0)
                except asyncio.CancelledError as error:
                    self._used |= self._order is None
                    if self._order is None and not self._tasks.ignores_cancellation:
                        raise error
        if self._order == "killed":
            raise asyncio.CancelledError
        self._uncancel()

    async def insist(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step that clears up behind an attempt; begin it again where a cancellation has broken it off."""
        with self._untimed():
            while True:
                try:
                    await step()
                except asyncio.CancelledError as error:
                    if self._order != "abandoned":
                        self._survive(error)
                else:
                    break
        await self.end_cancellation()

    @contextmanager
    def _untimed(self) -> Iterator[None]:
        """Outside of the attempt: its time limit must cut nothing in here."""
        started_s, self.started_s = self.started_s, float("inf")
        try:
            yield
        finally:
            self.started_s = started_s

    def _survive(self, stray: asyncio.CancelledError) -> None:
        if self._order == "killed":
            raise stray
        self._tasks.ignore_cancellation(stray, log=not self._used)
        self._order, self._used = None, True

    def _uncancel(self) -> None:
        assert self._task is not None
        self._order = None
        while self._task.cancelling():
            self._task.uncancel()

    def _is_running(self) -> bool:
        """False where the coroutine is being closed from outside: an endpoint's own GeneratorExit is its failure."""
        try:
            return asyncio.current_task() is self._task
        except RuntimeError:
            return False

    def _timeout(self, record: Record) -> EndpointTimeout:
        limit_s = self._clock.now() - self.started_s
        route = self.slot.route
        return EndpointTimeout(
            f"{route.name if route else 'the stack'} ran past its time limit at {address_of(record)}"
            f" (cut after {limit_s:.2f} s; the limit is `timeout_ms` of the event type,"
            " or the consumer's `max_endpoint_exec_time_ms`)",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            event_type=route.event_type if route else None,
        )
