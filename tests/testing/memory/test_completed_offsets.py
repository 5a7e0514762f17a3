"""What is done is not done again: after a clean restart, a rebalance, and a crash but for the time since the commit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from itertools import count
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Request
from evkafka.exceptions import BrokerError, ProcessDied
from evkafka.testing import InMemoryKafka
from tests.testing.memory.apps import CONFIG, Seen, make_app

KEYS = count()
LANES: dict[str, Any] = {"concurrency": 8, "auto_commit_interval_ms": 100}
POLICY: dict[str, Any] = {"max_attempts": 3, "then": "dead_letter"}
NEVER_AGAIN: dict[str, Any] = {"backoff_ms": 3_600_000, "max_backoff_ms": 3_600_000}


@pytest.fixture
async def kafka() -> AsyncIterator[InMemoryKafka]:
    async with InMemoryKafka() as kafka:
        yield kafka


async def send(kafka: InMemoryKafka, many: int, topic: str = "orders") -> None:
    """Records of different keys."""
    for _ in range(many):
        await kafka.send(topic, b"x", "E", key=f"k{next(KEYS)}")


def failing_at(*offsets: int, **keys: Any) -> tuple[EVKafkaApp, Seen]:
    async def then(request: Request) -> None:
        if request.offset in offsets:
            raise ValueError("poison")

    return make_app(then, **{**LANES, "on_error": NEVER_AGAIN, **keys})


def failing_app(fails: Callable[[int], Awaitable[None]], batch: bool) -> EVKafkaApp:
    """An app whose endpoint, a batch endpoint or not, fails with each record."""
    handler = Handler()

    if batch:

        @handler.event("E", batch=True, max_wait_ms=10)
        async def on_events(values: list[bytes], requests: list[Request]) -> None:
            await fails(requests[0].attempt)
    else:

        @handler.event("E")
        async def on_event(value: bytes, request: Request) -> None:
            await fails(request.attempt)

    app = EVKafkaApp()
    app.add_consumer({**CONFIG, "on_error": {"backoff_ms": 3_600_000, "max_backoff_ms": 3_600_000}}, handler)
    return app


async def rebalanced(kafka: InMemoryKafka) -> None:
    await kafka.rebalance("billing")


def metadata(kafka: InMemoryKafka) -> str:
    return kafka.committed_metadata("billing", "orders")


async def seen_all(kafka: InMemoryKafka, seen: Seen, many: int) -> None:
    while len(seen) < many:
        await kafka.advance(ms=10)


class TestACleanRestart:
    async def test_behind_a_poison_record_repeats_that_record_alone(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 50)
        for life in range(3):
            app, seen = failing_at(3)
            async with kafka.running(app):
                await seen_all(kafka, seen, 50 if life == 0 else 1)
                await kafka.advance(ms=1_000)
            assert seen.offsets() == ([*range(50)] if life == 0 else [3])
            assert kafka.committed("billing", "orders") == 3

    async def test_after_the_poison_record_has_succeeded_commits_everything(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 20)
        app, seen = failing_at(0, 7)
        async with kafka.running(app):
            await seen_all(kafka, seen, 20)
        again, seen_again = make_app(**LANES)
        async with kafka.running(again):
            await kafka.settle()
        assert seen_again.offsets() == [0, 7]
        assert kafka.committed("billing", "orders") == 20
        assert metadata(kafka) == ""

    async def test_repeats_none_of_the_finished_records_that_begin_at_the_committed_offset(
        self, kafka: InMemoryKafka
    ) -> None:
        """The second life ends while it has read only up to them: what is finished is known, and not read again."""
        await send(kafka, 10)
        app, seen = failing_at(*range(5))
        async with kafka.running(app):
            await seen_all(kafka, seen, 10)

        async def pause_after_the_fifth(request: Request) -> None:
            if len(seen) == 5:
                app.consumer("consumer-1").pause("orders", 0)

        app, seen = make_app(pause_after_the_fifth, **LANES, max_poll_records=5)
        async with kafka.running(app):
            await seen_all(kafka, seen, 5)
            await kafka.advance(ms=1_000)
        assert kafka.committed("billing", "orders") == 5

        again, seen_again = make_app(**LANES)
        async with kafka.running(again):
            await kafka.settle()
        assert seen_again.offsets() == []
        assert kafka.committed("billing", "orders") == 10

    async def test_new_records_behind_the_finished_ones_are_handled(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 10)
        app, seen = failing_at(0)
        async with kafka.running(app):
            await seen_all(kafka, seen, 10)
        await send(kafka, 5)
        again, seen_again = failing_at(0)
        async with kafka.running(again):
            await seen_all(kafka, seen_again, 6)
            await kafka.advance(ms=500)
        assert sorted(seen_again.offsets()) == [0, 10, 11, 12, 13, 14]

    @pytest.mark.parametrize("rule", ["earliest", "latest"])
    async def test_after_retention_has_deleted_the_poison_record_goes_on_with_what_is_left(
        self, kafka: InMemoryKafka, rule: str
    ) -> None:
        """Otherwise `latest` would lose what was sent meanwhile, and `earliest` would repeat what is finished."""
        await send(kafka, 10)
        app, seen = failing_at(3, 7)
        async with kafka.running(app):
            await seen_all(kafka, seen, 10)
        kafka.delete_records("orders", before=6)
        await send(kafka, 5)
        again, seen_again = make_app(**LANES, auto_offset_reset=rule)
        async with kafka.running(again):
            await kafka.settle()
        assert sorted(seen_again.offsets()) == [7, 10, 11, 12, 13, 14]
        assert kafka.committed("billing", "orders") == 15

    async def test_after_retention_has_deleted_all_that_is_finished_reads_what_is_left(
        self, kafka: InMemoryKafka
    ) -> None:
        await send(kafka, 10)
        app, seen = failing_at(3)
        async with kafka.running(app):
            await seen_all(kafka, seen, 10)
        await send(kafka, 5)
        kafka.delete_records("orders", before=12)
        again, seen_again = make_app(**LANES, auto_offset_reset="latest")
        async with kafka.running(again):
            await kafka.settle()
        assert seen_again.offsets() == [12, 13, 14]

    async def test_of_a_batch_endpoint_repeats_what_failed(self, kafka: InMemoryKafka) -> None:
        app, seen = failing_at(2, ordering="unordered")
        await send(kafka, 6)
        async with kafka.running(app):
            await seen_all(kafka, seen, 6)
        again, seen_again = failing_at(ordering="unordered")
        async with kafka.running(again):
            await kafka.settle()
        assert seen_again.offsets() == [2]


class TestARebalance:
    async def test_repeats_nothing_that_is_finished_and_counts_attempts_on(self, kafka: InMemoryKafka) -> None:
        attempts: list[int] = []

        async def then(request: Request) -> None:
            if request.offset == 1:
                attempts.append(request.attempt)
                raise ValueError("poison")

        await send(kafka, 10)
        app, seen = make_app(then, **LANES, on_error=NEVER_AGAIN)
        async with kafka.running(app):
            await seen_all(kafka, seen, 10)
            await kafka.rebalance("billing")
            await seen_all(kafka, seen, 11)
            await kafka.advance(ms=500)
        assert seen.offsets() == [*range(10), 1]
        assert attempts == [1, 2]

    @pytest.mark.parametrize("batch", [False, True])
    @pytest.mark.parametrize("stops", [False, True])
    async def test_counts_an_attempt_that_fails_while_its_partition_is_given_back(
        self, kafka: InMemoryKafka, batch: bool, stops: bool
    ) -> None:
        attempts: list[int] = []
        begun, may_fail = asyncio.Event(), asyncio.Event()

        async def fails(attempt: int) -> None:
            attempts.append(attempt)
            begun.set()
            await may_fail.wait()
            raise ValueError("poison")

        async def while_in_flight(then: Coroutine[Any, Any, None]) -> None:
            while not begun.is_set():
                await kafka.advance(ms=10)
            giving_back = asyncio.ensure_future(then)
            for _ in range(50):  # by then its partition is being given back
                await asyncio.sleep(0)
            may_fail.set()
            await giving_back

        await send(kafka, 1)
        app = failing_app(fails, batch)
        if stops:
            running = kafka.running(app)
            await running.__aenter__()
            await while_in_flight(running.__aexit__(None, None, None))
        else:
            async with kafka.running(app):
                await while_in_flight(rebalanced(kafka))
        async with kafka.running(failing_app(fails, batch)):
            while len(attempts) < 2:
                await kafka.advance(ms=10)
        assert attempts[:2] == [1, 2]

    async def test_does_not_give_a_record_more_attempts_than_its_policy_has(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 3)
        policy = {**NEVER_AGAIN, "max_attempts": 3, "then": "dead_letter"}
        for _ in range(3):
            app, seen = failing_at(1, on_error=policy)
            async with kafka.running(app):
                await seen_all(kafka, seen, 1)
                await kafka.advance(ms=500)
        assert [record.header("evkafka-dlq-attempts") for record in kafka.records("orders.billing.dlq")] == [b"3"]
        assert kafka.committed("billing", "orders") == 3


class TestACrash:
    async def test_repeats_what_was_finished_since_the_last_commit(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 10)
        app, seen = failing_at(0)
        async with kafka.running(app):
            await seen_all(kafka, seen, 10)
            await kafka.advance(ms=200)
            await kafka.crash(app)
        again, seen_again = failing_at(0)
        async with kafka.running(again):
            await seen_all(kafka, seen_again, 1)
            await kafka.advance(ms=500)
        assert seen_again.offsets() == [0]


class TestWhatClearsIt:
    async def given_a_map(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 10)
        app, seen = failing_at(3)
        async with kafka.running(app):
            await seen_all(kafka, seen, 10)
        assert metadata(kafka).startswith("evkafka-offsets/1 ")

    async def test_an_offset_that_an_admin_has_committed(self, kafka: InMemoryKafka) -> None:
        await self.given_a_map(kafka)
        kafka.commit("billing", "orders", offset=2)
        app, seen = failing_at()
        async with kafka.running(app):
            await kafka.settle()
        assert seen.offsets() == [*range(2, 10)]

    async def test_a_seek(self, kafka: InMemoryKafka) -> None:
        await self.given_a_map(kafka)
        app, seen = failing_at(3)
        async with kafka.running(app):
            await seen_all(kafka, seen, 1)
            app.consumer("consumer-1").seek("orders", 0, 5)
            await seen_all(kafka, seen, 6)
        assert sorted(seen.offsets()) == [3, 5, 6, 7, 8, 9]

    async def test_the_map_of_another_offset_is_ignored_and_logged(
        self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.given_a_map(kafka)
        kafka.commit("billing", "orders", offset=5, metadata=metadata(kafka))
        app, seen = failing_at()
        async with kafka.running(app):
            await kafka.settle()
        assert seen.offsets() == [*range(5, 10)]
        [said] = [record.getMessage() for record in caplog.records if "is ignored" in record.getMessage()]
        assert "orders[0]@5 is ignored: it belongs to offset 3" in said

    async def test_the_map_of_another_topic_is_ignored(self, kafka: InMemoryKafka) -> None:
        """As that of a deleted topic of the same name: the ids differ."""
        await self.given_a_map(kafka)
        await send(kafka, 10, "later")
        kafka.commit("billing", "later", offset=3, metadata=metadata(kafka))
        app, seen = failing_at(topics=["later"])
        async with kafka.running(app):
            await kafka.settle()
        assert seen.offsets() == [*range(3, 10)]

    async def test_records_of_a_truncated_log_are_not_taken_for_the_finished_ones(self, kafka: InMemoryKafka) -> None:
        await self.given_a_map(kafka)
        kafka.lose_records("orders", after=6)
        await send(kafka, 10)
        app, seen = failing_at()
        async with kafka.running(app):
            await kafka.settle()
        assert sorted(seen.offsets()) == [3, *range(6, 16)]
        assert kafka.committed("billing", "orders") == 16

    @pytest.mark.parametrize("truncated", [True, False])
    async def test_attempts_at_a_record_of_a_truncated_log_do_not_count_for_the_record_in_its_place(
        self, kafka: InMemoryKafka, truncated: bool
    ) -> None:
        begun: list[tuple[int, int]] = []

        async def then(request: Request) -> None:
            begun.append((request.offset, request.attempt))
            raise ValueError("poison")

        await send(kafka, 3)
        app, _ = make_app(then, **LANES, on_error=NEVER_AGAIN)
        async with kafka.running(app):
            while len(begun) < 3:
                await kafka.advance(ms=10)
        if truncated:
            kafka.lose_records("orders", after=1)
        else:
            kafka.elect_leader("orders")
        await send(kafka, 2)
        begun.clear()
        app, _ = make_app(then, **LANES, on_error=NEVER_AGAIN)
        async with kafka.running(app):
            await kafka.advance(ms=1_000)
        assert sorted(begun) == ([(0, 2), (1, 1), (2, 1)] if truncated else [(0, 2), (1, 2), (2, 2), (3, 1), (4, 1)])

    async def test_pre_commit_ignores_it(self, kafka: InMemoryKafka) -> None:
        await self.given_a_map(kafka)
        app, seen = make_app(auto_commit_mode="pre-commit", concurrency=8)
        async with kafka.running(app):
            await kafka.settle()
        assert seen.offsets() == [*range(3, 10)]


class TestTheBudget:
    async def test_a_partition_is_read_no_further_when_its_map_is_full(self, kafka: InMemoryKafka) -> None:
        """Every other record fails, so that each finished one is a range of its own."""
        await send(kafka, 4_000)
        app, seen = failing_at(
            *range(0, 4_000, 2), commit_metadata_max_bytes=400, max_pending_records=100_000, max_poll_records=100
        )
        async with kafka.running(app):
            await kafka.advance(ms=20_000)
            assert app.status().consumers[0].partitions[0].position < 4_000  # type: ignore[operator]
            await kafka.advance(ms=1_000)
        handled = set(seen.offsets())
        again, seen_again = failing_at()
        async with kafka.running(again):
            await kafka.settle()
        assert not {offset for offset in handled if offset % 2} & set(seen_again.offsets())
        assert {*seen.offsets(), *seen_again.offsets()} == {*range(4_000)}

    async def test_brokers_that_take_less_are_believed(
        self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        await send(kafka, 3_000)
        app, seen = failing_at(*range(0, 3_000, 2), commit_metadata_max_bytes=8_000, max_pending_records=100_000)
        with caplog.at_level(logging.WARNING):
            async with kafka.running(app):
                await seen_all(kafka, seen, 3_000)
                await kafka.advance(ms=1_000)
        said = [record.getMessage() for record in caplog.records if "do not accept" in record.getMessage()]
        assert len(said) <= 1
        assert kafka.committed("billing", "orders") == 0

    @pytest.mark.parametrize("most", [0, 1, 50])
    async def test_without_room_for_any_offset_a_partition_is_read_on(self, kafka: InMemoryKafka, most: int) -> None:
        await send(kafka, 300)
        app, seen = failing_at(*range(0, 300, 2), commit_metadata_max_bytes=most, max_poll_records=10)
        async with kafka.running(app):
            await seen_all(kafka, seen, 300)
            await kafka.advance(ms=500)
        assert metadata(kafka) == ""

    async def test_one_blocked_record_takes_no_memory_for_what_is_finished_behind_it(
        self, kafka: InMemoryKafka
    ) -> None:
        await send(kafka, 20_000)
        app, seen = failing_at(0)
        async with kafka.running(app):
            await seen_all(kafka, seen, 20_000)
            assert app.status().consumers[0].partitions[0].pending == 1
            await kafka.advance(ms=300)
            assert len(metadata(kafka)) < 150


class TestARecordThatKillsItsProcess:
    async def lives(
        self, kafka: InMemoryKafka, killers: Collection[int], most: int, *, after_ms: int = 0, **keys: Any
    ) -> list[list[int]]:
        """Start the app, crash it while it handles a killer, and start it again; returns what each life handled."""
        lives: list[list[int]] = []
        for _ in range(most):
            dies = asyncio.Event()

            async def then(request: Request, dies: asyncio.Event = dies) -> None:
                if request.offset in killers:
                    dies.set()
                    await asyncio.get_running_loop().create_future()

            app, seen = make_app(then, **{**LANES, **keys})
            async with kafka.running(app):
                for _ in range(1_000):
                    await kafka.advance(ms=10)
                    if dies.is_set() or kafka.committed("billing", "orders") == 10:
                        break
                if dies.is_set():
                    await kafka.advance(ms=after_ms)
                    await kafka.crash(app)
            lives.append(seen.offsets())
            if not dies.is_set():
                break
        return lives

    async def test_becomes_a_dead_letter_after_its_attempts_and_everything_else_is_handled(
        self, kafka: InMemoryKafka
    ) -> None:
        await send(kafka, 10)
        lives = await self.lives(kafka, [4], 6, on_error=POLICY)
        assert len(lives) <= 5
        [letter] = kafka.records("orders.billing.dlq")
        assert letter.header("evkafka-dlq-offset") == b"4"
        assert b"its process died" in (letter.header("evkafka-dlq-error-message") or b"")
        assert {offset for life in lives for offset in life} == {*range(10)}
        assert kafka.committed("billing", "orders") == 10

    @pytest.mark.parametrize("interval_ms", [100, 60_000])
    async def test_becomes_a_dead_letter_beside_another_one(self, kafka: InMemoryKafka, interval_ms: int) -> None:
        """The first one's dead letter is confirmed and committed before the second one may end the process."""
        await send(kafka, 10)
        await self.lives(kafka, [4, 5], 10, on_error=POLICY, auto_commit_interval_ms=interval_ms)
        letters = kafka.records("orders.billing.dlq")
        assert [letter.header("evkafka-dlq-offset") for letter in letters] == [b"4", b"5"]
        assert kafka.committed("billing", "orders") == 10

    async def test_becomes_a_dead_letter_if_it_takes_several_commits_to_kill_it(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 10)
        await self.lives(kafka, [4], 7, after_ms=1_000, on_error=POLICY)
        [letter] = kafka.records("orders.billing.dlq")
        assert letter.header("evkafka-dlq-offset") == b"4"

    async def test_is_none_that_has_ended_before_the_crash(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 2)
        await self.lives(kafka, [0], 1, auto_commit_interval_ms=60_000)
        app, seen = make_app(**{**LANES, "auto_commit_interval_ms": 60_000})
        async with kafka.running(app):
            await seen_all(kafka, seen, 2)
            await kafka.advance(ms=100)
            await kafka.crash(app)
        assert metadata(kafka) == ""
        assert kafka.committed("billing", "orders") == 2

    async def test_is_none_that_waits_behind_a_failing_one_of_its_key(self, kafka: InMemoryKafka) -> None:
        """It begins when that one has succeeded: it may neither be waited for nor be counted as killed."""
        for key in ("a", "a", "b", "c"):
            await kafka.send("orders", b"x", "E", key=key)
        lives = []
        for _ in range(4):
            app, seen = failing_at(0, auto_commit_interval_ms=60_000)
            async with kafka.running(app):
                await kafka.advance(ms=5_000)
                lives.append(seen.offsets())
                await kafka.crash(app)
        assert lives == [[0, 2, 3], [0, 2, 3], [0], [0]], "after the second life the others are committed"
        app, seen = make_app(**LANES)
        async with kafka.running(app):
            await kafka.settle()
        assert seen.offsets()[:2] == [0, 1], "the second one's first attempt"
        assert kafka.records("orders.billing.dlq") == []

    @pytest.mark.parametrize("most", [1, 2, 3])
    async def test_does_not_count_against_slow_records_of_other_partitions(
        self, kafka: InMemoryKafka, most: int
    ) -> None:
        kafka.create_topic("orders", 4)
        for partition in range(4):
            await kafka.send("orders", b"x", "E", key="k", partition=partition)
        for _ in range(6):
            dies = asyncio.Event()
            slow: deque[asyncio.Event] = deque()

            async def then(request: Request, dies: asyncio.Event = dies, slow: deque[asyncio.Event] = slow) -> None:
                if request.partition == 0:
                    dies.set()
                    await asyncio.get_running_loop().create_future()
                slow.append(asyncio.Event())
                await slow[-1].wait()

            app, _ = make_app(then, **LANES, on_error={"max_attempts": most, "then": "dead_letter"})
            async with kafka.running(app):
                for _ in range(200):
                    await kafka.advance(ms=100)
                    if dies.is_set():
                        await kafka.crash(app)
                        break
                    if slow:
                        slow.popleft().set()
        assert [letter.header("evkafka-dlq-partition") for letter in kafka.records("orders.billing.dlq")] == [b"0"]
        assert [kafka.committed("billing", "orders", partition) for partition in range(4)] == [1] * 4

    async def dies_everywhere(self, kafka: InMemoryKafka, *, crashes: bool = True) -> list[tuple[int, int]]:
        """Run an app until a record of any partition kills it; returns (partition, attempt) of those that began."""
        begun: list[tuple[int, int]] = []
        dies = asyncio.Event()

        async def then(request: Request) -> None:
            begun.append((request.partition, request.attempt))
            dies.set()
            await asyncio.get_running_loop().create_future()

        app, _ = make_app(then, **LANES, on_error=POLICY, drain_timeout_ms=100)
        async with kafka.running(app):
            for _ in range(100):
                await kafka.advance(ms=10)
                if dies.is_set():
                    break
            if dies.is_set() and crashes:
                await kafka.crash(app)
        return begun

    async def test_is_not_forgotten_while_one_of_another_partition_is_handled(self, kafka: InMemoryKafka) -> None:
        kafka.create_topic("orders", 3)
        for partition in range(3):
            await kafka.send("orders", b"x", "E", key="k", partition=partition)
        lives = [await self.dies_everywhere(kafka) for _ in range(8)]
        assert [len(begun) for begun in lives] == [3, 1, 1, 1, 1, 1, 1, 0]
        assert max(attempt for begun in lives for _, attempt in begun) == 3
        assert sorted(letter.partition for letter in kafka.records("orders.billing.dlq")) == [0, 1, 2]

    async def test_is_not_forgotten_if_its_partition_is_given_back_before_it_has_begun(
        self, kafka: InMemoryKafka
    ) -> None:
        kafka.create_topic("orders", 3)
        for partition in range(3):
            await kafka.send("orders", b"x", "E", key="k", partition=partition)
        await self.dies_everywhere(kafka)
        [(handled, _)] = await self.dies_everywhere(kafka, crashes=False)
        states = ["begun:" in kafka.committed_metadata("billing", "orders", partition) for partition in range(3)]
        assert states == [partition != handled for partition in range(3)]

    async def test_does_not_wait_for_a_dead_letter_that_cannot_be_written(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 10)
        await self.lives(kafka, [0], 3, on_error=POLICY, auto_commit_interval_ms=60_000)
        kafka.fail_sends(*["refused"] * 50, topic="orders.billing.dlq")
        app, seen = make_app(**LANES, on_error=POLICY)
        async with kafka.running(app):
            await seen_all(kafka, seen, 9)
            assert sorted(seen.offsets()) == [*range(1, 10)]
            await kafka.crash(app)

    async def test_is_handled_alone_from_the_second_death_on(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 10)
        lives = await self.lives(kafka, [0], 4)
        assert lives[1:] == [[0], [0], [0]]

    async def test_is_named_in_the_log_if_its_policy_has_no_end(
        self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        await send(kafka, 10)
        await self.lives(kafka, [0], 4)
        said = [record.getMessage() for record in caplog.records]
        assert any("the process died, or lost its session, while it handled orders[0]@0 (" in line for line in said)

    @pytest.mark.parametrize(("policy", "advises"), [({}, True), ({"max_attempts": 5, "then": "skip"}, False)])
    async def test_is_advised_a_finite_max_attempts_only_if_it_has_none(
        self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture, policy: dict[str, Any], advises: bool
    ) -> None:
        await send(kafka, 10)
        await self.lives(kafka, [0], 4, on_error=policy)
        said = [
            line
            for line in caplog.messages
            if "the process died, or lost its session, while it handled orders[0]@0 (" in line
        ]
        assert said
        assert {"a finite `max_attempts`" in line for line in said} == {advises}

    async def test_becomes_a_dead_letter_at_once_if_process_died_is_non_retryable(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 10)
        await self.lives(
            kafka, [4], 6, on_error={"max_attempts": 50, "then": "dead_letter", "non_retryable": [ProcessDied]}
        )
        [letter] = kafka.records("orders.billing.dlq")
        assert letter.header("evkafka-dlq-error-type") == b"evkafka.exceptions.ProcessDied"
        assert kafka.committed("billing", "orders") == 10

    async def test_is_not_told_from_one_whose_owners_lose_their_sessions(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 1)

        async def hang(request: Request) -> None:
            await asyncio.get_running_loop().create_future()

        keys = {**LANES, "on_error": {**POLICY, "max_attempts": 2}, "max_endpoint_exec_time_ms": 3_600_000}
        (first, _), (second, _) = make_app(hang, **keys), make_app(hang, **keys)
        async with kafka.running(first), kafka.running(second):
            while kafka.committed("billing", "orders") != 1:
                await kafka.advance(ms=2_000)
                for app in (first, second):
                    if app.consumer("consumer-1").assigned:
                        await kafka.expire(app)
        [letter] = kafka.records("orders.billing.dlq")
        assert b"its process died, or lost its session," in (letter.header("evkafka-dlq-error-message") or b"")

    async def test_a_clean_stop_leaves_no_mark(self, kafka: InMemoryKafka) -> None:
        await send(kafka, 3)
        app, seen = failing_at(0)
        async with kafka.running(app):
            await seen_all(kafka, seen, 3)
        assert " open:0:-: " in metadata(kafka)
        again, _ = make_app(**LANES)
        async with kafka.running(again):
            await kafka.settle()
        assert metadata(kafka) == ""

    async def test_a_lost_connection_is_no_death(self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture) -> None:
        await send(kafka, 3)
        app, seen = failing_at(0, 1, 2)
        async with kafka.running(app):
            await seen_all(kafka, seen, 3)
            kafka.fail_commits("unavailable", "unavailable")
            kafka.fail_polls(BrokerError("gone"))
            await seen_all(kafka, seen, 6)
        assert "did not release it" not in caplog.text

    async def test_a_partition_that_is_handed_over_in_order_leaves_no_mark(
        self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        await send(kafka, 3)
        app, seen = failing_at(0)
        async with kafka.running(app):
            await seen_all(kafka, seen, 3)
        again, seen_again = failing_at(0)
        async with kafka.running(again):
            await seen_all(kafka, seen_again, 1)
            await kafka.rebalance("billing")
            await seen_all(kafka, seen_again, 2)
        assert "did not release it" not in caplog.text

    @pytest.mark.parametrize("max_poll_records", [1, 500])
    @pytest.mark.parametrize("truncated", [True, False])
    async def test_is_not_the_record_in_its_place_after_the_log_was_truncated(
        self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture, truncated: bool, max_poll_records: int
    ) -> None:
        """Its attempts are used up: the next owner would settle it by its policy, without an attempt."""
        await kafka.send("orders", b"x", "F", key="first")  # unfinished, so that the metadata says more than the offset
        await send(kafka, 5)

        async def life(*killers: int) -> list[tuple[int, int]]:
            handler, begun, dies = Handler(), [], asyncio.Event()

            @handler.event("F", on_error={"max_attempts": None, **NEVER_AGAIN})  # type: ignore[typeddict-item]
            async def on_first(value: bytes) -> None:
                raise ValueError

            @handler.event("E")
            async def on_event(value: bytes, request: Request) -> None:
                begun.append((request.offset, request.attempt))
                if request.offset in killers:
                    dies.set()
                    await asyncio.get_running_loop().create_future()

            app = EVKafkaApp()
            keys: Any = {**CONFIG, **LANES, "on_error": POLICY, "max_poll_records": max_poll_records}
            app.add_consumer(keys, handler)
            async with kafka.running(app):
                for _ in range(400):
                    await kafka.advance(ms=10)
                    if dies.is_set():
                        await kafka.crash(app)
                        break
            return begun

        for attempt in (1, 2, 3):
            assert (4, attempt) in await life(4)
        if truncated:
            kafka.lose_records("orders", after=3)
            await send(kafka, 3)
        else:
            kafka.elect_leader("orders")
        caplog.clear()
        assert dict(await life()) == ({3: 1, 4: 1, 5: 1} if truncated else {})
        letters = [letter.header("evkafka-dlq-offset") for letter in kafka.records("orders.billing.dlq")]
        assert letters == ([] if truncated else [b"4"])
        assert ("its process died, or lost its session, while it was handled" in caplog.text) is not truncated
        assert "the process died, or lost its session, while it handled" not in caplog.text

    async def test_at_the_beginning_of_a_partition_is_gone_after_the_log_was_truncated_there(
        self, kafka: InMemoryKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        attempts: list[int] = []

        async def then(request: Request) -> None:
            attempts.append(request.attempt)

        await send(kafka, 3)
        await self.lives(kafka, [0], 1)
        kafka.lose_records("orders", after=0)
        await send(kafka, 3)
        app, _ = make_app(then, **LANES)
        async with kafka.running(app):
            await kafka.settle()
        assert attempts == [1, 1, 1]
        assert "did not release it" not in caplog.text
