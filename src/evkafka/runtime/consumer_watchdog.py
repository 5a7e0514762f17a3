"""One timer per consumer: it cancels attempts at their time limit, and detects a consumer that has silently stalled or
has lost a record.

An `asyncio.timeout` around every attempt would cost more than everything else that is done for a record; checking the
executors a few times a second costs nothing. The price is precision: an attempt is cancelled up to one round late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from evkafka.exceptions import BrokerError
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.executor import Executor
from evkafka.runtime.interfaces import WatchdogRounds
from evkafka.runtime.lost_or_doubled_records import check_open_offset_count_against_lanes
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import RecordSource, TimerHandle
from evkafka.runtime.reporting import TelemetryReporter
from evkafka.runtime.session_check import SessionCheck

SLOWEST_ROUND_S = 0.25
FASTEST_ROUND_S = 0.01
STALLED_AFTER_S = 60.0
"""If a partition has records at the broker and nothing to do here, and its position has not moved for so long, the
fetcher is considered dead, unless a response is being received slowly at that time. With long sessions it is two
sessions: a fetch without a response is abandoned after one session, and sent again."""


class ConsumerWatchdog:
    """Checks one consumer's executors, poll loop and positions, several times a second.

    Args:
        shortest_limit_s: the shortest time limit of any endpoint; a round is a tenth of it.
        session: whether the group may have given the partitions to others; checked each round.
        each_second: called with the time, once a second.
        on_failure: called with the error for which the consumer must be restarted.
    """

    def __init__(
        self,
        assignment: Assignment,
        executors: Iterable[Executor],
        *,
        shortest_limit_s: float,
        session: SessionCheck,
        watchdog_rounds: WatchdogRounds,
        report: TelemetryReporter,
        each_second: Callable[[float], object],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._settings = assignment.settings
        self._executors = tuple(executors)
        self._partitions = assignment.partitions
        self._session = session
        self._flow = assignment.flow
        self._round_s = min(max(shortest_limit_s / 10, FASTEST_ROUND_S), SLOWEST_ROUND_S)
        self._watchdog_rounds = watchdog_rounds
        self._report = report
        self._clock = assignment.clock
        self._each_second = each_second
        self._on_failure = on_failure
        self._timer: TimerHandle | None = None
        self._source: RecordSource | None = None
        self._polled_at_s = 0.0
        self._joining_since_s: float | None = None
        self._unmoved: dict[Partition, tuple[int, float]] = {}  # its position, and since when it has not moved
        self._next_stall_check_s = 0.0

    def start(self) -> None:
        self._run_round()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def set_watched_source(self, source: RecordSource | None) -> None:
        """Check this source from now on; None while there is none."""
        self._source = source
        self._joining_since_s = None
        self._unmoved.clear()
        self._session.set_watched_source(source)
        self.note_poll()

    def note_poll(self) -> None:
        """A poll has returned."""
        self._polled_at_s = self._clock.now()

    @property
    def current_poll_duration_s(self) -> float:
        """How long the current poll has been running; 0 without a source."""
        return self._clock.now() - self._polled_at_s if self._source is not None else 0.0

    @property
    def joining_s(self) -> float:
        """How long the current rebalance has been running; 0 without one."""
        since_s = self._joining_since_s
        return self._clock.now() - since_s if self._source is not None and since_s is not None else 0.0

    @property
    def longest_allowed_poll_duration_s(self) -> float:
        """A poll may take as long as a rebalance, and a rebalance as long as the rebalance timeout of a member."""
        return 2 * self._settings.rebalance_timeout_s + self._settings.session_timeout_s

    @property
    def partition_stalled_after_s(self) -> float:
        return max(STALLED_AFTER_S, 2 * self._settings.session_timeout_s)

    def _run_round(self) -> None:
        try:
            self._check_attempts_session_and_stalls()
        except Exception as error:  # whatever it is, the consumer fails, and the next round follows
            self._on_failure(error)
        finally:
            self._timer = self._clock.call_later(self._round_s, self._run_round)

    def _check_attempts_session_and_stalls(self) -> None:
        now_s = self._clock.now()
        self._watchdog_rounds.at_s = now_s
        for executor in self._executors:
            if executor.slot.record is not None:
                self._cancel_or_report_overrunning_attempt(executor, now_s)
        self._session.hold_lanes_if_not_in_session()
        if self._source is not None and now_s >= self._next_stall_check_s:
            self._next_stall_check_s = now_s + 1.0
            self._each_second(now_s)
            self._fail_consumer_if_stalled(self._source, now_s)
            check_open_offset_count_against_lanes(self._partitions.values(), self._executors)

    # ------------------------------------------------------------------ time limits

    def _cancel_or_report_overrunning_attempt(self, executor: Executor, now_s: float) -> None:
        record, limit_s = executor.slot.record, executor.time_limit_s()
        ran_s = now_s - executor.started_s
        if ran_s <= limit_s:
            return
        if executor.cancel_attempt("timeout") and ran_s <= 2 * limit_s:
            return
        # It runs in a thread; or it was cancelled and continues, which is as bad.
        if executor.overrun is not record:
            executor.overrun = record
            assert record is not None
            self._report.report_overrun(executor.slot, record, limit_s)

    # ------------------------------------------------------------------ stalls

    def _fail_consumer_if_stalled(self, source: RecordSource, now_s: float) -> None:
        silent_s = now_s - self._polled_at_s
        longest_poll_s = self.longest_allowed_poll_duration_s
        if silent_s > longest_poll_s:
            self._fail_stalled_consumer(f"the poll has not returned for {silent_s:.0f} s")
        elif (joining_s := self._joining_s(source, now_s)) > longest_poll_s:
            self._fail_stalled_consumer(f"the group has been rebalancing for {joining_s:.0f} s")
        elif stalled := self._stalled_partition(source, now_s):
            self._fail_stalled_consumer(
                f"{stalled} has records to read, but its position has not moved for"
                f" {self.partition_stalled_after_s:.0f} s"
            )

    def _joining_s(self, source: RecordSource, now_s: float) -> float:
        if source.state() != "joining":
            self._joining_since_s = None
            return 0.0
        if self._joining_since_s is None:
            self._joining_since_s = now_s
        return now_s - self._joining_since_s

    def _stalled_partition(self, source: RecordSource, now_s: float) -> str | None:
        unmoved, self._unmoved = self._unmoved, {}
        for tp, partition in self._partitions.items():
            position, end = source.position(tp), source.end_offset(tp)
            idle = (
                position is not None
                and end is not None
                and end > position
                and not partition.has_running_or_queued_records
            )
            is_held = "unreadable" in self._flow.not_read_reasons(tp)
            has_reason = is_held or partition.paused or partition.early or partition.count_retrying_lanes()
            if not idle or has_reason or source.is_receiving_slowly(tp):
                continue
            assert position is not None
            known, since_s = unmoved.get(partition, (-1, now_s))
            since_s = since_s if known == position else now_s
            self._unmoved[partition] = (position, since_s)
            if now_s - since_s > self.partition_stalled_after_s:
                return f"{tp.topic}[{tp.partition}]"
        return None

    def _fail_stalled_consumer(self, sentence: str) -> None:
        source, self._source = self._source, None
        state = source.state() if source is not None else "gone"
        self._on_failure(BrokerError(f"{sentence} (membership: {state}); the consumer is restarted"))
