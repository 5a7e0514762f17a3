"""Handle a record again in this process: one attempt, with the stack and time limits of its consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evkafka.dlq.dead_letter import DeadLetterRecord, original_record, replayed_headers
from evkafka.dlq.dry_run import other_group_reason
from evkafka.dlq.replay import LocalHandler
from evkafka.records import Record
from evkafka.runtime.failure_cause import Fatal, failure_message, reported_exception
from evkafka.runtime.ports import Slot
from evkafka.service.consumer_plan import ConsumerPlan
from evkafka.service.single_attempt import Delivery, TimedAttempt, calls_for, delivery_from_result


def create_local_handler(plan: ConsumerPlan, state: Mapping[str, Any], threads: ThreadPoolExecutor) -> LocalHandler:
    """A function that gives a dead letter to this consumer's handler, in the event loop that calls it.

    Args:
        state: the value that the lifespan yielded.
        threads: run endpoints that are a plain `def`.
    """
    run = create_attempt_runner(plan, state, threads)

    async def handle(dead_letter: DeadLetterRecord) -> str | None:
        if reason := other_group_reason(dead_letter, plan.settings.group_id):
            return reason
        record = original_record(dead_letter, dead_letter.record, tuple(replayed_headers(dead_letter)))
        return failure_reason(await run(record))

    return handle


def create_attempt_runner(
    plan: ConsumerPlan, state: Mapping[str, Any], threads: ThreadPoolExecutor
) -> Callable[[Record], Awaitable[Delivery]]:
    """A function that makes one attempt at a record. For the arguments see `create_local_handler`."""
    identity, limit_s, shortest_limit_s = plan.identity, plan.settings.max_endpoint_exec_time_s, plan.shortest_limit_s

    async def run(record: Record) -> Delivery:
        [call] = calls_for(plan.dispatch, [record], lambda: Slot(identity, state, threads))
        attempt = TimedAttempt(call.records[0], call.slot, limit_s=limit_s, shortest_limit_s=shortest_limit_s)
        result = await attempt.run(call)
        if isinstance(result, Fatal):
            raise result.error
        [ended] = call.list_record_results(result)
        return delivery_from_result(ended)

    return run


def failure_reason(delivery: Delivery) -> str | None:
    """Why it failed; None if it did not."""
    match delivery:
        case Delivery(outcome="done" | "skip"):
            return None
        case Delivery(outcome="failed", error=error) if error is not None:
            return f"{type(reported_exception(error)).__name__}: {failure_message(error)}"
        case Delivery(outcome="unmatched", reason=reason):
            return f"no endpoint handles it ({reason})"
        case Delivery(outcome=outcome, reason=reason):
            return f"the endpoint returned {outcome}" + (f": {reason}" if reason else "")
