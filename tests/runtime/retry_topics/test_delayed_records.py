"""The way out of a retry topic, piece by piece: kept until due, then run as the record that failed first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from evkafka.config import consumer_settings
from evkafka.outcomes import Unmatched
from evkafka.records import Record, TopicPartition, Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.dead_letters.retry_topics import RetryTopic, read_delayed
from evkafka.runtime.delayed_records import SHORTEST_WAIT_S, DelayedRecords, DelayedRecordSink, dispatch_origins
from evkafka.runtime.interfaces import WriteFailed
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import ConsumerIdentity, Slot
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic
from evkafka.telemetry import Telemetry
from tests.support.dead_letters import Rec

TOPIC, TIER = "orders.g.retry.5000", RetryTopic("orders", 5_000)
TP = TopicPartition(TOPIC, 0)
BEGAN_MS = 1_700_000_000_000


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._timers: list[tuple[float, Callable[[], object]]] = []

    def now(self) -> float:
        return self.now_s

    def timestamp_ms(self) -> int:
        return BEGAN_MS + round((self.now_s - 100.0) * 1000)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Any:
        self._timers.append((self.now_s + delay_s, callback))
        return SimpleNamespace(cancel=lambda: None)

    def move(self, seconds: float) -> None:
        self.now_s += seconds
        due = [timer for timer in self._timers if timer[0] <= self.now_s]
        self._timers = [timer for timer in self._timers if timer[0] > self.now_s]
        for _, callback in due:
            callback()


class Given:
    """One partition of a retry topic; `taken` are the offsets that were handed out."""

    def __init__(self) -> None:
        self.clock = HandClock()
        settings = consumer_settings({"topics": [TOPIC], "group_id": "g.retry"})
        clock = cast(Any, self.clock)
        self.held = Assignment("orders.retry", settings, LaneScheduler(clock), clock=clock, telemetry=Telemetry())
        self.held.source = cast(Any, object())
        self.partition = self.held.begin(TP)
        self.taken: list[int] = []
        self.waiting = DelayedRecords(self.held, {TOPIC: TIER}, self._take)

    def _take(self, partition: Partition, records: Sequence[Record]) -> None:
        self.taken += [record.offset for record in records]

    def keep(self, *ages_s: float) -> None:
        now_ms = self.clock.timestamp_ms()
        records = [Rec(TOPIC, 0, offset, round(now_ms - age_s * 1000)) for offset, age_s in enumerate(ages_s)]
        self.waiting.keep(self.partition, records)

    @property
    def is_read(self) -> bool:
        return "early" not in self.held.flow.reasons(TP)


class TestWaiting:
    def test_what_is_due_goes_on_and_the_rest_when_it_is(self) -> None:
        given = Given()
        given.keep(60, 5, 4, 1)
        assert (given.taken, given.is_read) == ([0, 1], False)
        given.clock.move(0.999)
        assert given.taken == [0, 1]
        given.clock.move(0.001)
        assert given.taken == [0, 1, 2]
        given.clock.move(3)
        assert (given.taken, given.is_read) == ([0, 1, 2, 3], True)

    def test_what_comes_due_within_a_grain_goes_together_and_later_rather_than_before(self) -> None:
        given = Given()
        given.keep(4.999, 4.990)
        given.clock.move(SHORTEST_WAIT_S / 2)
        assert given.taken == []
        given.clock.move(SHORTEST_WAIT_S / 2)
        assert given.taken == [0, 1]

    def test_the_order_of_the_topic_is_kept(self) -> None:
        """One that was written by a clock that goes behind stands behind others and does not pass them."""
        given = Given()
        given.keep(1, 60)
        assert given.taken == []
        given.clock.move(4)
        assert given.taken == [0, 1]

    def test_no_commit_passes_what_waits(self) -> None:
        given = Given()
        given.keep(1, 1)
        given.partition.set_position(2)
        assert given.partition.to_commit() == 0

    def test_nothing_is_handed_out_once_the_partition_is_another_assignments(self) -> None:
        for end in (
            lambda given: given.held.begin(TP),
            lambda given: given.held.drop(given.partition),
            lambda given: setattr(given.held, "source", None),
            lambda given: given.partition.change("leave"),
        ):
            given = Given()
            given.keep(1)
            end(given)
            given.clock.move(10)
            assert given.taken == []

    def test_a_pause_by_its_user_is_left_alone(self) -> None:
        given = Given()
        given.held.flow.close(TP, "user")
        given.keep(1)
        given.clock.move(10)
        assert given.held.flow.reasons(TP) == {"user"}


def slot() -> Slot:
    return Slot(ConsumerIdentity("orders.retry", "g.retry", "c"), {})


def came_back(offset: int, attempts: bytes = b"2") -> Record:
    told: list[tuple[str, bytes | None]] = [("own", b"1")]
    told += [
        ("evkafka-retry-topic", b"orders"),
        ("evkafka-retry-offset", b"%d" % offset),
        ("evkafka-retry-attempts", attempts),
    ]
    return read_delayed(Rec(TOPIC, 0, 7, BEGAN_MS, headers=told), TIER, now_s=0.0, now_ms=BEGAN_MS)


class FirstDispatch:
    """The dispatch of the source's consumer; `seen` is what it was given."""

    def __init__(self, *, gate: bool = False) -> None:
        self.seen: list[Any] = []
        self.gated = self._gated if gate else None

    def call(self, record: Record, slot: Slot) -> Awaitable[object] | None:
        self.seen.append((record.topic, record.offset, list(record.headers), slot.earlier))
        return None

    def unmatched(self, record: Record) -> Unmatched:
        self.seen.append((record.topic, record.offset))
        return Unmatched("no_endpoint")

    def open_batch(self, records: Sequence[Record], slot: Slot) -> Any:
        self.seen.append(([(record.topic, record.offset) for record in records], slot.earlier))

    def _gated(self, record: Record) -> None:
        self.seen.append((record.topic, record.offset))


class TestReturning:
    def test_a_record_is_run_as_it_was_with_the_attempts_that_it_has_had(self) -> None:
        first = FirstDispatch()
        dispatch_origins(cast(Any, first)).call(came_back(41), slot())
        assert first.seen == [("orders", 41, [("own", b"1")], 2)]

    def test_one_that_nothing_takes_is_unmatched_as_it_was(self) -> None:
        first = FirstDispatch()
        assert dispatch_origins(cast(Any, first)).unmatched(came_back(41)) == Unmatched("no_endpoint")
        assert first.seen == [("orders", 41)]

    def test_a_batch_has_the_most_attempts_of_its_records(self) -> None:
        first = FirstDispatch()
        dispatch_origins(cast(Any, first)).open_batch(
            [came_back(1, b"2"), came_back(2, b"4"), came_back(3, b"1")], slot()
        )
        assert first.seen == [([("orders", 1), ("orders", 2), ("orders", 3)], 4)]

    def test_the_gate_is_asked_about_the_record_as_it_was_and_is_none_where_there_was_none(self) -> None:
        first = FirstDispatch(gate=True)
        gate = dispatch_origins(cast(Any, first)).gated
        assert gate is not None
        assert gate(came_back(41)) is None
        assert first.seen == [("orders", 41)]
        assert dispatch_origins(cast(Any, FirstDispatch())).gated is None


class TestReturnedLetters:
    async def test_go_on_as_what_they_were_at_first(self) -> None:
        written: list[Any] = []

        class Letters:
            async def send_to_retry_topic(
                self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed
            ) -> None:
                written.append((record.topic, record.offset, verdict.delay_ms))

            async def send_to_dead_letter(
                self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed
            ) -> None:
                written.append((record.topic, record.offset, verdict.reason))

            async def send_unreadable(self, unreadable: Unreadable, *, source: str | None = None) -> None:
                written.append((unreadable.partition.topic, source))

        letters = DelayedRecordSink(cast(Any, Letters()), {TOPIC: TIER})
        await letters.send_to_retry_topic(came_back(41), slot(), SendToRetryTopic(60_000, "why", None), lambda *_: None)
        await letters.send_to_dead_letter(came_back(42), slot(), SendToDeadLetter("why", None), lambda *_: None)
        await letters.send_unreadable(cast(Any, SimpleNamespace(partition=TP)))
        assert written == [("orders", 41, 60_000), ("orders", 42, "why"), (TOPIC, "orders")]
