"""A thread that runs a plain `def` endpoint goes on with further records of its lane: nothing else differs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evkafka import Handler, Request, Skip
from evkafka.records import TopicPartition
from evkafka.runtime import thread_run
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.partition import Partition
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.service.dispatch import build_dispatch
from evkafka.telemetry import Telemetry
from tests.support.executors import OneRecord, executors, fail
from tests.support.lane_effects import Effects, skip_unmatched
from tests.support.waiting import eventually

E, F, OTHER, ASYNC = b"E", b"F", b"Other", b"Async"
tenant: ContextVar[int | None] = ContextVar("tenant", default=None)


@pytest.fixture(autouse=True)
def long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs do not end by their time, whatever the machine is doing."""
    monkeypatch.setattr(thread_run, "RUN_S", 60.0)


def record_of(offset: int, event_type: bytes = E, value: bytes | None = b"done") -> OneRecord:
    return OneRecord(offset, headers=(("Event-Type", event_type),), value=value)


class Walked:
    """One executor with a thread, and a lane.

    Attributes:
        handled: offset, attempt and thread of each attempt, in order.
        blocks: the offset whose endpoint waits until `opened` is set.
    """

    def __init__(self, *, hop_for_each: bool = False) -> None:
        self.handled: list[tuple[int, int, int]] = []
        self.tenants: list[int | None] = []
        self.blocks: int | None = None
        self.began, self.opened = threading.Event(), threading.Event()
        self.effects = Effects()
        self.threads = ThreadPoolExecutor(1)
        telemetry = Telemetry()
        self.effects.listen(telemetry)
        self.lanes = LaneScheduler(SystemClock())
        self.partition = Partition(TopicPartition("t", 0), ordering="partition")
        dispatch = build_dispatch(self.handler(), None)
        [self.executor] = executors(
            1, self.lanes, dispatch, decide=skip_unmatched, telemetry=telemetry, threads=self.threads
        )
        if hop_for_each:
            self.executor.slot.open_run = None

    def handler(self) -> Handler:
        handler = Handler()

        @handler.event("E")
        def on_e(value: bytes, request: Request) -> Any:
            self.handled.append((request.offset, request.attempt, threading.get_ident()))
            self.tenants.append(tenant.get())
            tenant.set(request.offset)
            if request.offset == self.blocks:
                self.began.set()
                self.opened.wait(60)
            if value == b"twice" and request.attempt == 1:
                raise ValueError
            return Skip() if value == b"skip" else None

        @handler.event("F")
        def on_f(value: bytes, request: Request) -> None:
            self.handled.append((request.offset, request.attempt, threading.get_ident()))
            if value == b"twice" and request.attempt == 1:
                raise ValueError

        @handler.event("Async")
        async def on_async(value: bytes, request: Request) -> None:
            self.handled.append((request.offset, request.attempt, threading.get_ident()))

        return handler

    def start(self, records: list[OneRecord]) -> None:
        self.lanes.add_records(self.partition, records, len(records))
        self.executor.start("executor", fail)

    async def all_of(self, records: list[OneRecord]) -> Effects:
        self.start(records)
        await self.partition.wait_until_idle()
        self.end()
        self.effects.handled = [(offset, attempt) for offset, attempt, _ in self.handled]
        self.effects.committable = self.partition.ledger.committable()
        self.executor._report.flush()
        return self.effects

    def end(self) -> None:
        self.opened.set()
        self.executor.kill()
        self.threads.shutdown(wait=False)

    @property
    def offsets(self) -> list[int]:
        return [offset for offset, *_ in self.handled]


@pytest.fixture
async def walked() -> AsyncIterator[Walked]:
    walked = Walked()
    yield walked
    walked.end()


RECORDS = st.lists(
    st.tuples(st.sampled_from([E, E, F, OTHER, ASYNC]), st.sampled_from([b"done", b"done", b"twice", b"skip", None])),
    min_size=1,
    max_size=30,
).map(lambda kinds: [record_of(offset, *kind) for offset, kind in enumerate(kinds)])


class TestRuns:
    @given(RECORDS)
    @settings(max_examples=60, deadline=None)
    def test_have_the_effects_of_a_hop_for_each_record(self, records: list[OneRecord]) -> None:
        async def effects(*, hop_for_each: bool) -> Effects:
            return await Walked(hop_for_each=hop_for_each).all_of(records)

        assert asyncio.run(effects(hop_for_each=False)) == asyncio.run(effects(hop_for_each=True))

    async def test_need_one_hop_for_many_records(self, walked: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
        hops = list[Any]()
        monkeypatch.setattr(walked.threads, "submit", _noting(walked.threads.submit, hops))
        await walked.all_of([record_of(offset) for offset in range(50)])
        assert walked.offsets == list(range(50))
        assert len(hops) == 1

    async def test_go_on_with_records_of_other_endpoints_and_skip_those_without_one(
        self, walked: Walked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hops = list[Any]()
        monkeypatch.setattr(walked.threads, "submit", _noting(walked.threads.submit, hops))
        kinds = [(E, b"done"), (OTHER, b"done"), (F, b"done"), (OTHER, b"done"), (E, None), (E, b"done")]
        records = [record_of(offset, *kind) for offset, kind in enumerate(kinds)]
        effects = await walked.all_of(records)
        assert walked.offsets == [0, 2, 5]
        assert effects.committable == 6
        assert effects.unmatched.total() == 3
        assert len(hops) == 1

    async def test_end_at_a_record_without_an_endpoint_if_a_policy_decides_about_it(
        self, walked: Walked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        walked.executor._skips_unmatched = False
        hops = list[Any]()
        monkeypatch.setattr(walked.threads, "submit", _noting(walked.threads.submit, hops))
        effects = await walked.all_of([record_of(0), record_of(1, OTHER), record_of(2)])
        assert walked.offsets == [0, 2]
        assert effects.unmatched.total() == 1
        assert effects.committable == 3
        assert len(hops) == 2

    async def test_end_with_their_time(self, walked: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(thread_run, "RUN_S", -1.0)
        hops = list[Any]()
        monkeypatch.setattr(walked.threads, "submit", _noting(walked.threads.submit, hops))
        await walked.all_of([record_of(offset) for offset in range(5)])
        assert len(hops) == 5

    async def test_give_each_record_the_context_that_the_first_one_had(self, walked: Walked) -> None:
        await walked.all_of([record_of(offset) for offset in range(5)])
        assert walked.tenants == [None] * 5


def _noting(submit: Any, hops: list[Any]) -> Any:
    def noting(*arguments: Any) -> Any:
        hops.append(arguments)
        return submit(*arguments)

    return noting


class TestARecordThatTakesLong:
    async def test_does_not_hold_back_those_that_ended_before_it(
        self, walked: Walked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evkafka.runtime.executor.RUN_S", 0.0)  # when the loop looks; the run itself goes on
        walked.blocks = 3
        loop, later = asyncio.get_running_loop(), list[Any]()
        monkeypatch.setattr(loop, "call_later", lambda delay_s, call: later.append(call))
        walked.start([record_of(offset) for offset in range(5)])
        await asyncio.to_thread(walked.began.wait)
        assert walked.partition.ledger.committable() != 3
        [finish] = later
        finish()
        assert walked.partition.ledger.committable() == 3
        assert walked.executor.slot.record == record_of(3)

    async def test_is_the_one_whose_time_counts(self, walked: Walked) -> None:
        walked.blocks = 3
        before_s = SystemClock().now()
        walked.start([record_of(offset) for offset in range(5)])
        await asyncio.to_thread(walked.began.wait)
        assert walked.executor.slot.record == record_of(3)
        assert before_s < walked.executor.started_s <= SystemClock().now()

    async def test_is_finished_with_those_before_it_when_its_attempt_is_cut(self, walked: Walked) -> None:
        walked.blocks = 3
        walked.start([record_of(offset) for offset in range(5)])
        await asyncio.to_thread(walked.began.wait)
        assert not walked.executor.cancel_attempt("abandoned")  # a thread cannot be cancelled
        assert walked.partition.ledger.committable() == 3


class TestRecordsThatMayNotBegin:
    @pytest.mark.parametrize("kind", ["cleared", "paused"])
    async def test_do_not_begin_in_the_thread(self, walked: Walked, kind: str) -> None:
        walked.blocks = 2
        walked.start([record_of(offset) for offset in range(5)])
        await asyncio.to_thread(walked.began.wait)
        if kind == "cleared":
            walked.lanes.drop_unbegun_records(walked.partition)
        else:
            walked.lanes.pause_partition(walked.partition)
        walked.opened.set()
        await eventually(lambda: walked.executor.lane is None)
        assert walked.offsets == [0, 1, 2]
        assert walked.partition.ledger.committable() == 3
        if kind == "paused":
            walked.lanes.resume_partition(walked.partition)
            await walked.partition.wait_until_idle()
            assert walked.offsets == [0, 1, 2, 3, 4]

    async def test_do_not_begin_in_a_thread_whose_attempt_was_cancelled(self, walked: Walked) -> None:
        walked.blocks = 2
        walked.start([record_of(offset) for offset in range(5)])
        await asyncio.to_thread(walked.began.wait)
        assert walked.executor.task is not None
        walked.executor.task.cancel()  # from outside: the attempt has failed, though its thread runs on
        await eventually(lambda: walked.executor.slot.attempt == 2)
        walked.blocks = None
        walked.opened.set()
        await walked.partition.wait_until_idle()
        assert [(offset, attempt) for offset, attempt, _ in walked.handled] == [
            (0, 1), (1, 1), (2, 1), (2, 2), (3, 1), (4, 1),
        ]  # fmt: skip
        assert walked.partition.ledger.committable() == 5
