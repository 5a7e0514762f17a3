"""Creates a consumer: builds its parts and connects them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from evkafka.outcomes import Failed, Outcome, Unmatched
from evkafka.runtime.admission import Admission
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.blocking_records import BlockingRecords
from evkafka.runtime.consumer import Consumer, ConsumerEnvironment, ConsumerParts, ConsumerSpec
from evkafka.runtime.consumer_watchdog import ConsumerWatchdog
from evkafka.runtime.corrupt_records import CorruptRecords
from evkafka.runtime.dead_letter_limit import DeadLetterLimit
from evkafka.runtime.executor import Executor
from evkafka.runtime.intake import Intake
from evkafka.runtime.interfaces import ConsumerServices, DecideFor, WatchdogRounds
from evkafka.runtime.kept_sends import wrap_dispatch_to_keep_sends
from evkafka.runtime.pending_writes import PendingWrites
from evkafka.runtime.poller import Poller
from evkafka.runtime.ports import Clock, ConsumerIdentity, Route, Slot
from evkafka.runtime.progress import Progress
from evkafka.runtime.rebalance import RebalanceListener
from evkafka.runtime.reporting import TelemetryReporter, UnmatchedWarning
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.session_check import SessionCheck
from evkafka.runtime.settle import Verdict, decide_at_least_once, decide_at_most_once
from evkafka.runtime.supervision.restart_policy import RestartPolicy
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.runtime.supervision.tasks import SupervisedClock, SupervisedTasks
from evkafka.runtime.suspect_records import SuspectRecords
from evkafka.runtime.take_over import PartitionTakeOver
from evkafka.runtime.time_slice import TimeSlice


def build_consumer(
    spec: ConsumerSpec, environment: ConsumerEnvironment, on_fatal_error: Callable[[], object] = lambda: None
) -> Consumer:
    """Create a consumer. `on_fatal_error` is called when its `fatal_error` is known."""

    def on_stop_signal() -> None:
        assignment.flow.room.set()
        if stop_signal.fatal_error is not None:
            on_fatal_error()

    stop_signal = StopSignal(on_stop_signal)
    fail = stop_signal.fail
    clock = SupervisedClock(environment.clock, fail)
    tasks = SupervisedTasks(spec.name, fail)
    assignment = _create_assignment(spec, environment, clock)
    report = _create_reporter(spec, environment, assignment)
    limit = _create_dead_letter_limit(spec, stop_signal)
    progress = Progress(assignment, report)
    services = _create_services(assignment, report, clock, tasks, progress, fail)
    writes = _create_pending_writes(spec, services, limit)
    take_over = _create_partition_take_over(spec, environment, assignment, services, writes)
    corrupt_records = CorruptRecords(assignment, stop_signal, limit, spec.dead_letters, tasks)
    poller = Poller(assignment, stop_signal, report, limit, take_over, progress)
    watchdog_rounds = WatchdogRounds(clock.now())
    threads = ThreadPoolExecutor(spec.settings.concurrency, thread_name_prefix=f"evkafka-{spec.name}")
    session = SessionCheck(assignment)
    time_slice = TimeSlice(clock, session.hold_lanes_if_not_in_session)
    executors = _create_lane_executors(spec, environment, services, writes, watchdog_rounds, time_slice, threads)
    blocking_records = BlockingRecords(spec.name, assignment.partitions, assignment.flow)
    parts = ConsumerParts(
        assignment=assignment,
        stop_signal=stop_signal,
        restart_policy=RestartPolicy(clock.now, environment.random),
        tasks=tasks,
        report=report,
        corrupt_records=corrupt_records,
        poller=poller,
        writes=writes,
        threads=threads,
        executors=executors,
        rebalance_listener=RebalanceListener(assignment, stop_signal, executors, report, corrupt_records),
        blocking_records=blocking_records,
        watchdog=_create_watchdog(
            spec, assignment, executors, session, watchdog_rounds, report, blocking_records, fail
        ),
    )
    return Consumer(parts, environment.cluster, spec.transaction_scope)


def _create_assignment(spec: ConsumerSpec, environment: ConsumerEnvironment, clock: Clock) -> Assignment:
    admission = Admission(spec.dispatch.limited_route) if spec.dispatch.limited_route is not None else None
    assignment = Assignment(
        spec.name, spec.settings, LaneScheduler(clock, admission), clock=clock, telemetry=environment.telemetry
    )
    for tp in spec.paused:
        assignment.flow.add_reason(tp, "user")
    return assignment


def _create_reporter(spec: ConsumerSpec, environment: ConsumerEnvironment, assignment: Assignment) -> TelemetryReporter:
    warning = UnmatchedWarning(
        spec.name,
        environment.telemetry,
        known=spec.known_types,
        finished=assignment.total_finished_records,
        skips=spec.settings.at_most_once or spec.settings.unmatched == "skip",
    )
    return TelemetryReporter(spec.name, environment.telemetry, warning)


def _create_services(
    assignment: Assignment,
    report: TelemetryReporter,
    clock: Clock,
    tasks: SupervisedTasks,
    progress: Progress,
    fail: Callable[[BaseException], None],
) -> ConsumerServices:
    return ConsumerServices(
        assignment.scheduler,
        report,
        clock,
        tasks,
        resume_reading_and_flush_reports_soon=progress.resume_reading_and_flush_reports_soon,
        close_partition_after_failed_record=assignment.close_partition_after_failed_record,
        fail=fail,
    )


def _create_dead_letter_limit(spec: ConsumerSpec, stop_signal: StopSignal) -> DeadLetterLimit:
    window = 0 if spec.settings.at_most_once else spec.dead_letter_window
    return DeadLetterLimit(stop_signal, window, spec.limit_reset)


def _create_pending_writes(spec: ConsumerSpec, services: ConsumerServices, limit: DeadLetterLimit) -> PendingWrites:
    return PendingWrites(
        services,
        spec.dead_letters,
        limit,
        dead_letter_limit=lambda route: spec.policy_for(route).dead_letter_limit,
        at_most_once=spec.settings.at_most_once,
    )


def _create_partition_take_over(
    spec: ConsumerSpec,
    environment: ConsumerEnvironment,
    assignment: Assignment,
    services: ConsumerServices,
    writes: PendingWrites,
) -> PartitionTakeOver:
    intake = Intake(assignment, spec.retry_topics)
    identity, owner = ConsumerIdentity.from_settings(spec.name, spec.settings), secrets.token_hex(4)
    suspects = SuspectRecords(
        assignment,
        services,
        writes,
        spec.dispatch,
        _create_decide_for(spec, environment.random),
        lambda: Slot(identity, spec.state),
        intake,
        owner=owner,
    )
    return PartitionTakeOver(
        assignment, services.tasks, suspects, intake.place_records_when_due, services.fail, owner=owner
    )


def _create_lane_executors(
    spec: ConsumerSpec,
    environment: ConsumerEnvironment,
    services: ConsumerServices,
    writes: PendingWrites,
    watchdog_rounds: WatchdogRounds,
    time_slice: TimeSlice,
    threads: ThreadPoolExecutor,
) -> list[Executor]:
    settings = spec.settings
    identity = ConsumerIdentity.from_settings(spec.name, spec.settings)
    decide_for = _create_decide_for(spec, environment.random)
    scope = spec.transaction_scope
    dispatch = spec.dispatch if scope is None else wrap_dispatch_to_keep_sends(spec.dispatch, scope)
    return [
        Executor(
            Slot(identity, spec.state, threads),
            services,
            dispatch=dispatch,
            decide=decide_for,
            writes=writes,
            watchdog_rounds=watchdog_rounds,
            time_slice=time_slice,
            limit_s=settings.max_endpoint_exec_time_s,
        )
        for _ in range(settings.concurrency)
    ]


def _create_watchdog(
    spec: ConsumerSpec,
    assignment: Assignment,
    executors: Sequence[Executor],
    session: SessionCheck,
    watchdog_rounds: WatchdogRounds,
    report: TelemetryReporter,
    blocking_records: BlockingRecords,
    fail: Callable[[BaseException], None],
) -> ConsumerWatchdog:
    return ConsumerWatchdog(
        assignment,
        executors,
        shortest_limit_s=spec.shortest_limit_s,
        session=session,
        watchdog_rounds=watchdog_rounds,
        report=report,
        each_second=blocking_records.update_and_log_stuck_partitions,
        on_failure=fail,
    )


def _create_decide_for(spec: ConsumerSpec, random: Callable[[], float]) -> DecideFor:
    """The table of verdicts that this consumer's commit mode asks for, with its policies."""
    waited_ms = {topic: retry_topic.delay_ms for topic, retry_topic in (spec.retry_topics or {}).items()}

    def decide_for(
        topic: str, route: Route | None, outcome: Outcome | Unmatched | Failed | None, attempt: int
    ) -> Verdict:
        if spec.settings.at_most_once:
            return decide_at_most_once(outcome)
        return decide_at_least_once(
            outcome,
            attempt=attempt,
            policy=spec.policy_for(route),
            unmatched=spec.settings.unmatched,
            waited_ms=waited_ms.get(topic, 0),
            random=random,
        )

    return decide_for
