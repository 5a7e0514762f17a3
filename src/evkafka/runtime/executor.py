"""Step 3 of 7: attempts. An executor takes a ready lane, and runs the lane's records one after the other.

`Executor._run_lane` runs most often of all code: for a record it creates no task, lock, future, log call or event at
concurrency 1, and awaits the endpoint itself. Everything but plain success (an error, an outcome, a time limit) is
handled in a method of its own, outside of the `while` loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Literal

from evkafka.exceptions import EndpointTimeout, StopApp
from evkafka.outcomes import Unmatched
from evkafka.records import NotReady, Record
from evkafka.runtime.admission import LimitedRouteOf
from evkafka.runtime.attempt import (
    ABANDONED,
    CancelReason,
    classify_attempt_exception,
    classify_result,
    is_current_task,
    time_limit_s,
    timeout_error,
    withdraw_call_unless_thread_runs_it,
)
from evkafka.runtime.attempt_context import copy_context_for_attempts
from evkafka.runtime.batch_executor import BatchRun
from evkafka.runtime.deadline import remaining
from evkafka.runtime.failure_cause import Fatal
from evkafka.runtime.interfaces import ConsumerServices, DecideFor, WatchdogRounds
from evkafka.runtime.kept_sends import kept_sends, take_outputs
from evkafka.runtime.last_attempts import LastAttempts
from evkafka.runtime.partition import Batch, Lane, Partition
from evkafka.runtime.pending_writes import PendingWrites
from evkafka.runtime.ports import Dispatch, Slot, ThreadCall
from evkafka.runtime.reporting import AttemptKind
from evkafka.runtime.settle import Finish, Wait, address_of
from evkafka.runtime.supervision.tasks import TaskEnded
from evkafka.runtime.thread_run import RUN_S, ThreadRun
from evkafka.runtime.time_slice import TimeSlice

logger = logging.getLogger("evkafka.runtime")

LANE_SLICE_S = 0.001
"""How long one lane runs while others wait for an executor."""

BLOCKED_AFTER_S = 1.0
"""An attempt that has blocked the event loop for this long is logged with its endpoint's name."""

AttemptCall = Callable[[Record, Slot], "Awaitable[object] | Unmatched"]


class NotAdmitted(BaseException):
    """A record that must pass `Admission` was found after the first record of a lane. Users never see it."""


class Executor:
    """Runs one attempt at a time, for as long as its consumer lives.

    Args:
        services: what it shares with the consumer's other executors.
        dispatch: finds a record's endpoint and starts its call.
        decide: the verdict for an attempt's outcome.
        writes: writes records to other topics.
        watchdog_rounds: when the watchdog last checked the executors.
        time_slice: how long all executors together may use the event loop.
        limit_s: the consumer's time limit for an attempt.

    Attributes:
        slot: the running attempt. Written here and by the dispatch; read by the watchdog.
        lane: the lane that is run, None between lanes.
        started_s: when the running attempt began, on the consumer's clock.
        overrun: the record whose endpoint ran past its limit and cannot be cancelled. Written by the watchdog.
    """

    def __init__(
        self,
        slot: Slot,
        services: ConsumerServices,
        *,
        dispatch: Dispatch,
        decide: DecideFor,
        writes: PendingWrites,
        watchdog_rounds: WatchdogRounds,
        time_slice: TimeSlice,
        limit_s: float,
    ) -> None:
        self.slot = slot
        self.lane: Lane | None = None
        self.started_s = 0.0
        self.overrun: Record | None = None
        self._services = services
        self._scheduler = services.scheduler
        self._report = services.report
        self._clock = services.clock
        self._tasks = services.tasks
        self._call = (
            dispatch.call
            if dispatch.limited_route is None
            else self._wrap_call_to_check_admission(dispatch.call, dispatch.limited_route)
        )
        self._dispatch = dispatch
        self._decide = decide
        self._skips_unmatched = isinstance(decide("", None, Unmatched("no_endpoint"), 1), Finish)
        self._writes = writes
        self._last_attempts = LastAttempts(services, writes)
        self._watchdog_rounds = watchdog_rounds
        self._time_slice = time_slice
        self._limit_s = limit_s
        self._batch: BatchRun | None = None
        self._thread_run: ThreadRun | None = None
        if dispatch.thread_call is not None and dispatch.limited_route is None:
            slot.open_run = self._open_thread_run
        self._clean_context = self._context = Context()
        self._start_task: Callable[[], asyncio.Task[None]]
        self._cancel_reason: CancelReason | None = None
        self._needs_fresh_task = False  # an attempt has left something behind in the current task
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ life

    def start(self, name: str, on_end: Callable[[BaseException], None]) -> None:
        """Begin to take lanes.

        Args:
            name: the task's name.
            on_end: called if the executor ends by anything but its own `kill`.
        """
        self._clean_context = copy_context_for_attempts()
        self._clean_context.run(remaining.set, self.time_left_s)  # once for all attempts: sends inside of them read it
        if self._dispatch.keeps_sends:
            self._clean_context.run(kept_sends.set, None)
        self._start_task = lambda: self._tasks.start_task(
            name, self._run_lanes_and_restart_unless_killed(), on_end, context=self._context
        )
        self._continue_in_new_task()

    def _continue_in_new_task(self) -> None:
        """Continue in a new task: context variables and cancel scopes of earlier attempts do not reach it.

        A context variable that was not there before cannot be removed from a running task's context. And a task that
        was cancelled may be cancelled again: an anyio cancel scope that was left open does so in each round of the
        event loop. A task for each record would cost more than everything else that is done for a record. So a new task
        begins only after an attempt that has set a variable, or after such a cancellation.
        """
        self._needs_fresh_task = False
        self._context = self._clean_context.copy()
        self._tasks.allow_end(self._task)
        self._task = self._start_task()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that endpoints run in; None before the start."""
        return self._task

    @property
    def records_in_flight(self) -> Collection[Record]:
        """The records that were taken out of the current lane and are not finished."""
        if self._batch is not None:
            return self._batch.unsettled_records
        return () if self.slot.record is None else (self.slot.record,)

    @property
    def _records_whose_attempt_failed(self) -> Collection[Record]:
        """The records of the attempt that stops the app."""
        return self._batch.records_whose_attempt_failed() if self._batch is not None else self.records_in_flight

    def cancel_attempt(self, reason: Literal["timeout", "abandoned"]) -> bool:
        """Cancel the running attempt. False if that is not possible: between attempts, and while a thread runs it."""
        if self._task is None or self.slot.record is None:
            return False
        self._finish_records_ended_in_thread()
        if self._cancel_reason is None:
            if not withdraw_call_unless_thread_runs_it(self.slot):
                return False
            self._cancel_reason = reason
            self._task.cancel()
        return True

    def kill(self) -> asyncio.Task[None] | None:
        """End the executor, whatever it does. Nothing else ends it on purpose."""
        self._cancel_reason = "killed"
        self._tasks.cancel_and_allow_end(self._task)
        return self._task

    async def _run_lanes_and_restart_unless_killed(self) -> None:
        try:
            await self._take_and_run_lanes()
        except asyncio.CancelledError as unrelated:
            # By foreign code, between two attempts: for example by an asyncio.timeout that an endpoint never left.
            self._ignore_cancellation_unless_killed(unrelated)
        except GeneratorExit:
            if not is_current_task(self._task):
                raise
        if self._cancel_reason != "killed":
            self._continue_in_new_task()

    async def _take_and_run_lanes(self) -> None:
        """Take lanes and run them, one after the other. Returns once an attempt has left something in this task."""
        scheduler, now, time_slice = self._scheduler, self._clock.now, self._time_slice
        resume_reading_and_flush_reports_soon = self._services.resume_reading_and_flush_reports_soon
        while True:
            if not scheduler.has_ready_lane:
                await scheduler.wait_until_lane_may_be_ready()
            if now() > time_slice.ends_s:  # before a lane is taken: otherwise the lane would be held during the wait
                await self._end_time_slice()
            lane = scheduler.take_lane()
            if lane is None:  # other executors were faster
                continue
            self.lane = lane
            try:
                if isinstance(lane, Batch):
                    await self._run_batch(lane)
                else:
                    await self._run_lane(lane)
            except BaseException as error:
                self._fail_consumer(lane, error)
            finally:
                self.lane = self._batch = None
                self.slot.record = None
                scheduler.release_lane(lane)
                resume_reading_and_flush_reports_soon()
            if self._was_task_altered_by_attempt():
                return

    def _was_task_altered_by_attempt(self) -> bool:
        """Whether an attempt has set a context variable and not reset it, or the task was cancelled from outside."""
        try:
            return self._needs_fresh_task or self._context != self._clean_context
        except Exception:  # two values that cannot be compared are not the same
            return True

    def _fail_consumer(self, lane: Lane, error: BaseException) -> None:
        """Fail the consumer. The record in flight stays unfinished, so that none after it may run: neither those of
        its lane, nor records of a poll still under way. All without an `await` in between, because other executors run
        before the consumer gets to stop."""
        if isinstance(error, GeneratorExit) and self._batch is None and is_current_task(self._task):
            return  # thrown by another task (see `classify_raised`): its record is settled, only the run has ended
        failed = self._records_whose_attempt_failed if isinstance(error, StopApp) else ()
        took_s = self._clock.now() - self.started_s
        self._services.close_partition_and_report_failed(lane.partition, self.slot, failed, took_s)
        if self._cancel_reason == "killed":
            raise error
        if isinstance(error, Exception):
            self._services.fail(error)
        else:
            self._services.fail(TaskEnded(f"{type(error).__name__} while handling {lane.partition.tp}"))
            raise error

    # ------------------------------------------------------------------ time limits

    def time_limit_s(self) -> float:
        """How long the running attempt may take: its event type's limit, else the consumer's."""
        return time_limit_s(self.slot, self._limit_s)

    def time_left_s(self) -> float | None:
        """How much of the limit is left; None between attempts. Threads that run endpoints call it too."""
        if self.slot.record is None:
            return None
        return self.time_limit_s() - (self._clock.now() - self.started_s)

    # ------------------------------------------------------------------ the records of a lane

    def _wrap_call_to_check_admission(self, call: AttemptCall, limited_route: LimitedRouteOf) -> AttemptCall:
        """`Dispatch.call` for records that `Admission` has let through; any other record ends the run of its lane."""

        def admitted_only(record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
            if self.lane is None or limited_route(record) is not self.lane.permit:
                raise NotAdmitted
            return call(record, slot)

        return admitted_only

    async def _run_lane(self, lane: Lane) -> None:
        """Run the lane's records in order, until it is empty, must wait, or other lanes must have their turn."""
        queue, finish = lane.queue, self._choose_finish_with_or_without_sends(lane.partition)
        slot, call, now, report = self.slot, self._call, self._clock.now, self._report
        skips_unmatched = self._skips_unmatched
        durations_s = report.attempt_durations_to_append_to(lane.partition.tp.topic)
        assert self._task is not None
        cancelling, context, clean_context = self._task.cancelling, self._context, self._clean_context
        failed_attempts = lane.partition.failed_attempts
        started = self.started_s = now()
        slice_ends = min(self._time_slice.ends_s, started + LANE_SLICE_S)
        while queue and not self._needs_fresh_task:
            try:
                changed = context != clean_context  # cheap: identical as long as no variable was set
            except Exception:  # two values that cannot be compared are not the same
                changed = True
            if changed or cancelling():  # nothing that an attempt has left behind may reach the next one
                self._needs_fresh_task = True
                break
            slot.attempt = lane.attempt if failed_attempts else 1
            slot.record = record = queue.popleft()
            try:
                attempt = call(record, slot)
                result = attempt if type(attempt) is Unmatched else await attempt
            except BaseException as error:  # the only handler of endpoint exceptions
                record, started = self._end_thread_run_and_return_record(record), self.started_s
                result = self.classify_raised(error, record)
            if self._thread_run is not None:
                record, started = self._end_thread_run_and_return_record(record), self.started_s
            ended_as: AttemptKind = slot.route
            if type(result) is Unmatched and skips_unmatched and self._cancel_reason is None:
                report.report_unmatched(record, result)
                result, ended_as = None, "skipped"
            if result is None and self._cancel_reason is None:
                if not finish(record.offset):  # its partition was revoked or reset: the result is too late to count
                    report.report_dropped(slot.route, record)
                    return
                ended = now()
                if durations_s is not None:
                    durations_s[ended_as].append(ended - started)
            else:
                if not await self._settle_result(lane, record, result, now() - started):
                    return
                ended = now()
            if ended > slice_ends and not self._needs_fresh_task:
                if not await self._may_continue_lane_after_slice(record, started, ended):
                    break
                ended = now()
                slice_ends = min(self._time_slice.ends_s, ended + LANE_SLICE_S)
            started = self.started_s = ended

    def _choose_finish_with_or_without_sends(self, partition: Partition) -> Callable[[int], bool]:
        """The function that finishes a record of this partition, by its offset, after an attempt that has succeeded."""
        if not self._dispatch.keeps_sends:
            return partition.ledger.finish
        return lambda offset: partition.finish(offset, take_outputs(self.slot))  # what it has sent is to be written

    async def _may_continue_lane_after_slice(self, record: Record, started_s: float, ended_s: float) -> bool:
        """The lane's share of time is over: other tasks run if they must. False if another lane must have its turn."""
        if ended_s - started_s > BLOCKED_AFTER_S and self._watchdog_rounds.at_s < started_s:
            self._report.report_loop_blocked(self.slot, record, ended_s - started_s)
        if ended_s > self._time_slice.ends_s:  # another executor may have begun a new slice meanwhile
            await self._end_time_slice()
        return not self._scheduler.has_ready_lane

    # ------------------------------------------------------------------ several records for one hop to a thread

    @property
    def may_thread_take_lane_records(self) -> bool:
        """Whether a thread may take records out of the lane now: the lane may change at any time."""
        return self._thread_run is not None and self._thread_run.is_open

    def _open_thread_run(self) -> Callable[[], ThreadCall | None]:
        """`Slot.open_run`."""
        assert self.lane is not None
        assert self._dispatch.thread_call is not None
        run = self._thread_run = ThreadRun(
            self, self.lane, self._dispatch.thread_call, self._skips_unmatched, self._clock.now
        )
        # Records that have ended do not wait for the one after them, which may take long.
        asyncio.get_running_loop().call_later(2 * RUN_S, self._finish_records_ended_in_thread)
        return run.begin_next_record_and_return_call

    def _end_thread_run_and_return_record(self, record: Record) -> Record:
        """The attempt that was begun with this record has ended. Returns the record that its end belongs to: the thread
        may have finished this one and gone on with others."""
        if self._thread_run is not None:
            self._thread_run.stop_beginning_records()
            self._finish_records_ended_in_thread()
            self._thread_run = None
        return self.slot.record or record

    def _finish_records_ended_in_thread(self) -> None:
        run, lane = self._thread_run, self.lane
        ended = run.take_ended() if run is not None else ()
        if not ended or lane is None:
            return
        durations_s = self._report.attempt_durations_to_append_to(lane.partition.tp.topic)
        for record, duration_s, route, unmatched in ended:
            if unmatched is not None:
                self._report.report_unmatched(record, unmatched)
            if not lane.partition.ledger.finish(record.offset):
                self._report.report_dropped(route, record)
            elif durations_s is not None:
                durations_s["skipped" if unmatched is not None else route].append(duration_s)
        self._services.resume_reading_and_flush_reports_soon()

    async def _run_batch(self, batch: Batch) -> None:
        run = self._batch = BatchRun(self, batch, self._services, self._decide, self._writes)
        started = self._clock.now()
        await run.run_and_settle(self._dispatch.open_batch)
        took_s = self._clock.now() - started
        if took_s > BLOCKED_AFTER_S and self._watchdog_rounds.at_s < started and self.slot.record is not None:
            self._report.report_loop_blocked(self.slot, self.slot.record, took_s)

    def classify_raised(self, error: BaseException, record: Record) -> object:
        """What an exception raised by an attempt means. Raises it again if it must end the executor."""
        match error:
            case NotAdmitted() | NotReady():
                return error
            case asyncio.CancelledError() if self._cancel_reason is None:
                if not self._tasks.must_ignore_cancellation:
                    raise error
                self._needs_fresh_task = True  # the endpoint awaited what was cancelled, or somebody cancelled its task
            case GeneratorExit():
                # GeneratorExit thrown by another task: coroutines here must not await any more.
                self._needs_fresh_task = True
        meaning = classify_attempt_exception(
            error, self._cancel_reason, self._task, lambda: self._timeout_error(record)
        )
        if isinstance(meaning, Fatal):
            # A KeyboardInterrupt or SystemExit that leaves a task is raised out of the event loop by asyncio, past the
            # drain and the last commit. As a StopApp it ends the app in order.
            raise StopApp(f"{type(meaning.error).__name__} while handling {address_of(record)}", error)
        return meaning

    # ------------------------------------------------------------------ verdicts

    async def _settle_result(self, lane: Lane, record: Record, result: object, duration_s: float) -> bool:
        """From an attempt's result to an outcome, from that to a verdict, which is carried out. False if the run
        of the lane must end here."""
        await self.clear_cancellation_of_ended_attempt()
        slot = self.slot
        if isinstance(result, NotAdmitted | NotReady):
            self._put_back_unbegun_record(lane, record, result)
            return False
        if result is ABANDONED:
            self._report.report_dropped(slot.route, record)
            return False
        outcome = classify_result(result)
        if isinstance(outcome, Unmatched):
            self._report.report_unmatched(record, outcome)
        verdict = self._decide(record.topic, slot.route, outcome, slot.attempt)
        if isinstance(verdict, Wait):
            self._report.report_failed(slot, record, outcome, verdict)
            if lane.partition.count_failed_attempt(record.offset, slot.attempt):
                self._report.report_finished(slot, record, "retried", duration_s)
                self._put_back_failed_to_retry_later(lane, record, verdict.delay_s)
            else:
                self._report.report_dropped(slot.route, record)
            return False
        return self._last_attempts.settle(lane, record, slot, outcome, verdict, duration_s)

    def _put_back_unbegun_record(self, lane: Lane, record: Record, reason: NotAdmitted | NotReady) -> None:
        """No attempt has begun: the record stays the lane's first."""
        if lane.partition.is_closed:
            return  # it was revoked while a middleware ran: its next owner reads the record again
        lane.queue.appendleft(record)
        if isinstance(reason, NotReady):
            self._scheduler.block_until_schema_known(lane, reason.ready)

    def _put_back_failed_to_retry_later(self, lane: Lane, record: Record, delay_s: float) -> None:
        """The record stays the lane's first, and the lane waits. If its partition is being revoked, the record is
        dropped."""
        if lane.partition.forbids_retries:
            return
        lane.queue.appendleft(record)
        self._scheduler.schedule_retry(lane, delay_s)

    # ------------------------------------------------------------------ cancellations

    async def _end_time_slice(self) -> None:
        """Let other tasks run if they must, and let flow control and reports see the progress."""
        self.slot.record = None  # no attempt runs, so that no time limit may cancel this wait
        self._services.resume_reading_and_flush_reports_soon()
        if self._time_slice.must_yield_to_event_loop():
            try:
                await self._time_slice.wait_for_next()
            except asyncio.CancelledError as unrelated:
                self._ignore_cancellation_unless_killed(unrelated)

    async def clear_cancellation_of_ended_attempt(self) -> None:
        """Forget the cancellation of the attempt that has just ended, regardless of its source.

        It has already taken effect.

        Raises:
            asyncio.CancelledError: the executor was killed meanwhile.
        """
        assert self._task is not None
        if self._cancel_reason is None and not self._task.cancelling():
            return
        with self._suspend_time_limit():
            self._needs_fresh_task |= self._cancel_reason is None
            if self._cancel_reason != "killed":
                self._clear_cancel_requests()
                try:
                    # Up to Python 3.12 a cancellation may still be delivered after uncancel() brought the count to 0:
                    # it is delivered here.
                    await asyncio.sleep(0)
                except asyncio.CancelledError as error:
                    self._needs_fresh_task |= self._cancel_reason is None
                    if self._cancel_reason is None and not self._tasks.must_ignore_cancellation:
                        raise error
        if self._cancel_reason == "killed":
            raise asyncio.CancelledError
        self._clear_cancel_requests()

    async def run_cleanup_again_if_cancelled(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step that cleans up after an attempt. Run it again if a cancellation has interrupted it."""
        with self._suspend_time_limit():
            while True:
                try:
                    await step()
                except asyncio.CancelledError as error:
                    if self._cancel_reason != "abandoned":
                        self._ignore_cancellation_unless_killed(error)
                else:
                    break
        await self.clear_cancellation_of_ended_attempt()

    @contextmanager
    def _suspend_time_limit(self) -> Iterator[None]:
        """No attempt runs in here: the last one's time limit must cancel nothing."""
        started_s, self.started_s = self.started_s, float("inf")
        try:
            yield
        finally:
            self.started_s = started_s

    def _ignore_cancellation_unless_killed(self, unrelated: asyncio.CancelledError) -> None:
        if self._cancel_reason == "killed":
            raise unrelated
        self._tasks.ignore_cancellation_unless_loop_closes(unrelated, log=not self._needs_fresh_task)
        self._cancel_reason, self._needs_fresh_task = None, True

    def _clear_cancel_requests(self) -> None:
        assert self._task is not None
        self._cancel_reason = None
        while self._task.cancelling():
            self._task.uncancel()

    def _timeout_error(self, record: Record) -> EndpointTimeout:
        ran_s = self._clock.now() - self.started_s
        return timeout_error(
            self.slot,
            record,
            details=f"cut after {ran_s:.2f} s; the limit is `timeout_ms` of the event type,"
            " or the consumer's `max_endpoint_exec_time_ms`",
        )
