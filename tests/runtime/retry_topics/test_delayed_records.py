"""Records of retry topics are kept until they are due, and then run as the record that failed first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from evkafka.config import consumer_settings
from evkafka.outcomes import Unmatched
from evkafka.records import Record, TopicPartition, Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.dead_letters.retry_topics import RetryTopic, parse_delayed_record
from evkafka.runtime.delayed_records import (
    SHORTEST_WAIT_S,
    DelayedRecords,
    OriginalRecordDeadLetterSink,
    wrap_dispatch_to_unwrap_delayed_records,
)
from evkafka.runtime.interfaces import WriteFailed
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import ConsumerIdentity, Slot
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.settle import SendToDeadLetter, SendToRetryTopic
from evkafka.telemetry import Telemetry
from tests.support.dead_letters import Source

TOPIC, RETRY_TOPIC = "orders.g.retry.5000", RetryTopic("orders", 5_000)
TP = TopicPartition(TOPIC, 0)
BEGAN_MS = 1_700_000_000_000


class ManualClock:
    """Moved manually."""

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
    """One partition of a retry topic; `taken` has the offsets that were handed out."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        settings = consumer_settings({"topics": [TOPIC], "group_id": "g.retry"})
        clock = cast(Any, self.clock)
        self.held = Assignment("orders.retry", settings, LaneScheduler(clock), clock=clock, telemetry=Telemetry())
        self.held.source = cast(Any, object())
        self.partition = self.held.add_new_partition(TP)
        self.taken: list[int] = []
        self.waiting = DelayedRecords(self.held, {TOPIC: RETRY_TOPIC}, self._take)

    def _take(self, partition: Partition, records: Sequence[Record]) -> None:
        self.taken += [record.offset for record in records]

    def keep(self, *ages_s: float) -> None:
        now_ms = self.clock.timestamp_ms()
        records = [Source(TOPIC, 0, offset, round(now_ms - age_s * 1000)) for offset, age_s in enumerate(ages_s)]
        self.waiting.keep_until_due(self.partition, records)

    @property
    def is_read(self) -> bool:
        return "early" not in self.held.flow.not_read_reasons(TP)


class TestWaiting:
    def test_records_are_handed_out_when_they_are_due(self) -> None:
        given = Given()
        given.keep(60, 5, 4, 1)
        assert (given.taken, given.is_read) == ([0, 1], False)
        given.clock.move(0.999)
        assert given.taken == [0, 1]
        given.clock.move(0.001)
        assert given.taken == [0, 1, 2]
        given.clock.move(3)
        assert (given.taken, given.is_read) == ([0, 1, 2, 3], True)

    def test_records_due_within_the_shortest_wait_are_handed_out_together_and_not_early(self) -> None:
        given = Given()
        given.keep(4.999, 4.990)
        given.clock.move(SHORTEST_WAIT_S / 2)
        assert given.taken == []
        given.clock.move(SHORTEST_WAIT_S / 2)
        assert given.taken == [0, 1]

    def test_the_order_of_the_topic_is_kept(self) -> None:
        """A record that was written with a slow clock is behind others and does not pass them."""
        given = Given()
        given.keep(1, 60)
        assert given.taken == []
        given.clock.move(4)
        assert given.taken == [0, 1]

    def test_no_commit_passes_waiting_records(self) -> None:
        given = Given()
        given.keep(1, 1)
        given.partition.set_read_position(2)
        assert given.partition.ledger.committable() == 0

    def test_nothing_is_handed_out_after_the_assignment_has_ended(self) -> None:
        for end in (
            lambda given: given.held.add_new_partition(TP),
            lambda given: given.held.end_partition(given.partition),
            lambda given: setattr(given.held, "source", None),
            lambda given: given.partition.begin_revoke(),
        ):
            given = Given()
            given.keep(1)
            end(given)
            given.clock.move(10)
            assert given.taken == []

    def test_a_pause_by_a_user_is_kept(self) -> None:
        given = Given()
        given.held.flow.add_reason(TP, "user")
        given.keep(1)
        given.clock.move(10)
        assert given.held.flow.not_read_reasons(TP) == {"user"}


def slot() -> Slot:
    return Slot(ConsumerIdentity("orders.retry", "g.retry", "c"), {})


def delayed_record(offset: int, attempts: bytes = b"2") -> Record:
    headers: list[tuple[str, bytes | None]] = [("own", b"1")]
    headers += [
        ("evkafka-retry-topic", b"orders"),
        ("evkafka-retry-offset", b"%d" % offset),
        ("evkafka-retry-attempts", attempts),
    ]
    return parse_delayed_record(Source(TOPIC, 0, 7, BEGAN_MS, headers=headers), RETRY_TOPIC, now_s=0.0, now_ms=BEGAN_MS)


class FirstDispatch:
    """The dispatch of the source's consumer; `seen` has its calls."""

    awaited = None

    def __init__(self, *, gate: bool = False) -> None:
        self.seen: list[Any] = []
        self.limited_route = self._gated if gate else None

    def call(self, record: Record, slot: Slot) -> Awaitable[object] | Unmatched:
        self.seen.append((record.topic, record.offset, list(record.headers), slot.earlier))
        return Unmatched("no_endpoint")

    def open_batch(self, records: Sequence[Record], slot: Slot) -> Any:
        self.seen.append(([(record.topic, record.offset) for record in records], slot.earlier))

    def _gated(self, record: Record) -> None:
        self.seen.append((record.topic, record.offset))


class TestDispatchOrigins:
    def test_runs_the_origin_with_its_earlier_attempts(self) -> None:
        first = FirstDispatch()
        assert wrap_dispatch_to_unwrap_delayed_records(cast(Any, first)).call(delayed_record(41), slot()) == Unmatched(
            "no_endpoint"
        )
        assert first.seen == [("orders", 41, [("own", b"1")], 2)]

    def test_gives_a_batch_the_highest_count_of_its_records(self) -> None:
        first = FirstDispatch()
        wrap_dispatch_to_unwrap_delayed_records(cast(Any, first)).open_batch(
            [delayed_record(1, b"2"), delayed_record(2, b"4"), delayed_record(3, b"1")], slot()
        )
        assert first.seen == [([("orders", 1), ("orders", 2), ("orders", 3)], 4)]

    def test_passes_the_origin_to_the_gate_if_there_is_one(self) -> None:
        first = FirstDispatch(gate=True)
        gate = wrap_dispatch_to_unwrap_delayed_records(cast(Any, first)).limited_route
        assert gate is not None
        assert gate(delayed_record(41)) is None
        assert first.seen == [("orders", 41)]
        assert wrap_dispatch_to_unwrap_delayed_records(cast(Any, FirstDispatch())).limited_route is None


class TestOriginalRecordDeadLetterSink:
    async def test_writes_origins(self) -> None:
        written: list[Any] = []

        class Sink:
            async def send_to_retry_topic(
                self, record: Record, slot: Slot, verdict: SendToRetryTopic, failed: WriteFailed
            ) -> None:
                written.append((record.topic, record.offset, verdict.delay_ms))

            async def send_to_dead_letter(
                self, record: Record, slot: Slot, verdict: SendToDeadLetter, failed: WriteFailed
            ) -> None:
                written.append((record.topic, record.offset, verdict.reason))

            async def send_dead_letter_of_unreadable(
                self, unreadable: Unreadable, *, source: str | None = None
            ) -> None:
                written.append((unreadable.partition.topic, source))

        sink = OriginalRecordDeadLetterSink(cast(Any, Sink()), {TOPIC: RETRY_TOPIC})
        await sink.send_to_retry_topic(
            delayed_record(41), slot(), SendToRetryTopic(60_000, "why", None), lambda *_: None
        )
        await sink.send_to_dead_letter(delayed_record(42), slot(), SendToDeadLetter("why", None), lambda *_: None)
        await sink.send_dead_letter_of_unreadable(cast(Any, SimpleNamespace(partition=TP)))
        assert written == [("orders", 41, 60_000), ("orders", 42, "why"), (TOPIC, "orders")]
