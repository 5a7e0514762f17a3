"""Records that no endpoint takes have a shortcut in the walk of a lane: it has the effects of the long way."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evkafka import Handler, Request, Retry
from evkafka.outcomes import Failed, Outcome, Unmatched
from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.interfaces import DecideFor
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import Route
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.settle import StopConsuming, Verdict
from evkafka.service.dispatch import build_dispatch
from evkafka.telemetry import Telemetry
from tests.support.executors import OneRecord, executors, fail
from tests.support.lane_effects import Effects, skip_unmatched


def skip_the_long_way(
    topic: str, route: Route | None, outcome: Outcome | Unmatched | Failed | None, attempt: int
) -> Verdict:
    """An executor asks once, without a topic, whether unmatched records are skipped; this says no to that."""
    return skip_unmatched(topic, route, outcome, attempt) if topic else StopConsuming("the long way", None)


async def walk(records: list[OneRecord], decide_for: DecideFor) -> Effects:
    """Walk a lane of these records until it is empty."""
    effects, handler, telemetry = Effects(), Handler(), Telemetry()
    effects.listen(telemetry)

    @handler.event("E")
    async def on_e(value: bytes, request: Request) -> Any:
        effects.handled.append((request.offset, request.attempt))
        return Retry(after_ms=0) if value == b"twice" and request.attempt == 1 else None

    lanes = LaneScheduler(SystemClock())
    partition = Partition(TopicPartition("t", 0), ordering="partition")
    [executor] = executors(1, lanes, build_dispatch(handler, None), decide=decide_for, telemetry=telemetry)
    lanes.add_records(partition, records, len(records))
    executor.start("executor", fail)
    await partition.wait_until_idle()
    executor.kill()
    effects.committable = partition.ledger.committable()
    executor._report.flush()
    return effects


def one_record(offset: int, headers: tuple[tuple[str, bytes | None], ...], value: bytes | None) -> OneRecord:
    return OneRecord(offset, headers=headers, value=value)


HEADERS = st.sampled_from(
    [
        (("Event-Type", b"E"),),
        (("a", b"b"), ("Event-Type", b"E"), ("Event-Type", b"Other")),
        (("Event-Type", b"Other"),),
        (("Event-Type", b"x" * 300),),
        (("Event-Type", b"\xff"),),
        (("Event-Type", None),),
        (),
    ]
)
RECORDS = st.lists(st.tuples(HEADERS, st.sampled_from([b"once", b"twice", None])), max_size=60).map(
    lambda kinds: [one_record(offset, *kind) for offset, kind in enumerate(kinds)]
)


class TestSkippedRecords:
    @given(RECORDS)
    @settings(max_examples=60, deadline=None)
    def test_the_shortcut_has_the_effects_of_the_long_way(self, records: list[OneRecord]) -> None:
        if records:
            assert asyncio.run(walk(records, skip_unmatched)) == asyncio.run(walk(records, skip_the_long_way))

    def test_they_are_counted_and_committed(self) -> None:
        records = [one_record(0, (("Event-Type", b"Other"),), b"1"), one_record(1, (("Event-Type", b"E"),), None)]
        effects = asyncio.run(walk(records, skip_unmatched))
        assert effects.processed == {("", "skipped"): 2}
        assert effects.unmatched == {("t", "no_endpoint", "Other"): 1, ("t", "tombstone", "E"): 1}
        assert (effects.handled, effects.committable) == ([], 2)
