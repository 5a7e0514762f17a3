"""A dead letter that is confirmed after its partition was revoked does not affect the next assignment."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from evkafka.config import consumer_settings
from evkafka.records import TopicPartition, Unreadable
from evkafka.runtime.assignment import Assignment
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.corrupt_records import CorruptRecords
from evkafka.runtime.dead_letter_limit import DeadLetterLimit, LimitReset
from evkafka.runtime.scheduler import LaneScheduler
from evkafka.runtime.supervision.stop_signal import StopSignal
from evkafka.runtime.supervision.tasks import SupervisedTasks
from evkafka.telemetry import Telemetry
from tests.support.engine import SourceAt

TP = TopicPartition("orders", 0)
UNREADABLE = Unreadable(TP, 3, 4, ValueError("a bad checksum"))


class SlowDeadLetters:
    """Confirms a dead letter when the test allows it."""

    def __init__(self) -> None:
        self.begun, self.confirmed = asyncio.Event(), asyncio.Event()

    async def send_dead_letter_of_unreadable(self, unreadable: Unreadable, **_: object) -> None:
        self.begun.set()
        await self.confirmed.wait()


class Given:
    def __init__(self) -> None:
        policy = {"max_attempts": 1, "then": "dead_letter"}
        settings = consumer_settings({"topics": ["orders"], "group_id": "g", "on_error": policy})
        clock, self.failures = SystemClock(), list[BaseException]()
        self.held = Assignment("it", settings, LaneScheduler(clock), clock=clock, telemetry=Telemetry())
        self.source, self.letters = SourceAt(3), SlowDeadLetters()
        self.held.source = cast(Any, self.source)
        ending = StopSignal(lambda: None)
        tasks = SupervisedTasks("it", self.failures.append)
        limit = DeadLetterLimit(ending, 0, LimitReset())
        self.unreadable = CorruptRecords(self.held, ending, limit, cast(Any, self.letters), tasks)
        self.partition = self.held.add_new_partition(TP)

    async def confirm(self) -> None:
        await self.letters.begun.wait()
        self.letters.confirmed.set()
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_dead_letter_confirmed_in_time_skips_the_record() -> None:
    given = Given()
    given.unreadable.handle(UNREADABLE)
    await given.confirm()
    assert given.source.sought == [(TP, 4)]


async def test_a_dead_letter_confirmed_too_late_skips_nothing() -> None:
    given = Given()
    given.unreadable.handle(UNREADABLE)
    await given.letters.begun.wait()
    given.held.end_partition(given.partition)
    given.held.add_new_partition(TP)
    await given.confirm()
    assert given.source.sought == []
