"""A dead letter handled again in this process: one attempt, by its consumer's own stack and time limits."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from evkafka.dlq.dead_letter import DeadLetterRecord, replayed_headers
from evkafka.dlq.dry_run import of_another_group
from evkafka.dlq.replay import Handle
from evkafka.runtime.failure_cause import Fatal, failure_message, reported_exception
from evkafka.runtime.ports import Slot
from evkafka.service.service import ConsumerPlan
from evkafka.service.single_attempt import Attempt, Delivery, delivery_of, works


@dataclass(frozen=True, slots=True)
class _Again:
    """The record as it was when it failed first: at its own address, with id and count in its headers."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def handle_of(plan: ConsumerPlan, state: Mapping[str, Any], threads: ThreadPoolExecutor) -> Handle:
    """What handles a letter with this consumer's handler, in the loop that it is called in.

    Args:
        state: what the lifespan yielded.
        threads: where a plain `def` endpoint runs.
    """
    identity, shortest_limit_s = plan.identity, plan.shortest_limit_s

    async def handle(letter: DeadLetterRecord) -> str | None:
        if why := of_another_group(letter, plan.settings.group_id):
            return why
        return await _attempt(plan, letter, Slot(identity, state, threads), shortest_limit_s)

    return handle


async def _attempt(plan: ConsumerPlan, letter: DeadLetterRecord, slot: Slot, shortest_limit_s: float) -> str | None:
    """One attempt, with the consumer's stack and time limits; None where the record is done, else why it is not."""
    limit_s = plan.settings.max_endpoint_exec_time_s
    [work] = works(plan.dispatch, [_again(letter)], lambda: slot)
    attempt = Attempt(work.records[0], work.slot, limit_s=limit_s, shortest_limit_s=shortest_limit_s)
    result = await attempt.run(work)
    if isinstance(result, Fatal):
        raise result.error
    [ended] = work.results(result)
    return _why(delivery_of(ended))


def _again(letter: DeadLetterRecord) -> _Again:
    record = letter.record
    return _Again(
        letter.topic or record.topic,
        record.partition if letter.partition is None else letter.partition,
        record.offset if letter.offset is None else letter.offset,
        record.timestamp if letter.timestamp_ms is None else letter.timestamp_ms,
        record.key,
        record.value,
        tuple(replayed_headers(letter)),
    )


def _why(delivery: Delivery) -> str | None:
    match delivery:
        case Delivery(outcome="done" | "skip"):
            return None
        case Delivery(outcome="failed", error=error) if error is not None:
            return f"{type(reported_exception(error)).__name__}: {failure_message(error)}"
        case Delivery(outcome="unmatched", reason=reason):
            return f"no endpoint takes it ({reason})"
        case Delivery(outcome=outcome, reason=reason):
            return f"the endpoint says {outcome}" + (f": {reason}" if reason else "")
