"""Transactions of a consumer: when they are committed, and what follows if one is not."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from evkafka import Request
from evkafka.config.settings import ConsumerSettings
from evkafka.telemetry import ConsumerLost, TransactionEnded
from evkafka.testing.memory.cluster import MemoryCluster
from evkafka.testing.memory.faults import CommitFault
from evkafka.testing.memory.source import MemorySource
from tests.runtime.transactions.conftest import GROUP, IN, WARM, Relay, fail

NUMBERS = [b"%d" % number for number in range(5)]


class Lost(list[BaseException]):
    """Why a consumer was restarted, each time."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        relay.app.telemetry.listen(ConsumerLost, lambda event: self.append(event.error))


def results(relay: Relay) -> list[tuple[str, int]]:
    """The results of the transactions that write records, and how many they write; filled as they end."""
    ended: list[tuple[str, int]] = []

    def on_end(event: TransactionEnded) -> None:
        if event.records:
            ended.append((event.result, event.records))

    relay.app.telemetry.listen(TransactionEnded, on_end)
    return ended


def aborted(relay: Relay) -> bool:
    return any(line.endswith("is aborted") for line in relay.kafka.trace.lines())


class TestCommitting:
    async def test_one_transaction_writes_all_that_was_finished_in_its_interval(self, relay: Relay) -> None:
        ended = results(relay)
        async with relay.running(transaction_interval_ms=200, transaction_timeout_ms=5_000):
            await relay.kafka.settle()
            await relay.feed(b"a", b"b", b"c")
            await relay.kafka.settle()
        assert ended == [("committed", 3)]

    async def test_a_slow_record_holds_up_no_output_of_another_key(self, relay: Relay) -> None:
        gate = asyncio.Event()

        async def then(value: bytes, request: Request) -> None:
            if value == b"slow":
                await gate.wait()

        relay.then = then
        await relay.feed(b"slow", key="s")
        await relay.feed(b"a", b"b", key="k")
        async with relay.running(concurrency=4):
            await relay.kafka.advance(ms=1_000)
            assert relay.out == [b"a", b"b"]
            gate.set()
            await relay.kafka.settle()
        assert relay.out == [b"a", b"b", b"slow"]

    async def test_the_outputs_of_one_key_are_in_the_order_of_its_records(self, relay: Relay) -> None:
        async def then(value: bytes, request: Request) -> None:
            for _ in range(5 - int(value) % 5):
                await asyncio.sleep(0)

        relay.then = then
        for number in range(50):
            await relay.feed(b"%d" % number, key=f"k{number % 7}")
        async with relay.running(concurrency=8, transaction_interval_ms=1, transaction_timeout_ms=5_000):
            await relay.kafka.settle()
        numbers = [int(value or b"") for value in relay.out]
        assert sorted(numbers) == list(range(50))
        for key in range(7):
            own = [number for number in numbers if number % 7 == key]
            assert own == sorted(own)

    async def test_offsets_are_committed_without_outputs_too(self, relay: Relay) -> None:
        await relay.feed(b"a", event_type="Unknown")
        async with relay.running():
            await relay.kafka.settle()
        assert relay.kafka.committed(GROUP, IN, 0) == 1

    async def test_a_revoke_commits_what_was_sent(self, relay: Relay) -> None:
        async with relay.running(transaction_interval_ms=60_000, transaction_timeout_ms=90_000):
            await relay.feed(b"a")
            await relay.kafka.advance(ms=1_000)
            assert relay.out == []
            await relay.kafka.rebalance(GROUP)
            assert relay.out == [b"a"]

    async def test_a_stop_commits_what_was_sent(self, relay: Relay) -> None:
        async with relay.running(transaction_interval_ms=60_000, transaction_timeout_ms=90_000):
            await relay.feed(b"a")
            await relay.kafka.advance(ms=1_000)
        assert relay.out == [b"a"]
        assert relay.handled == [b"a"]

    async def test_a_seek_keeps_what_was_sent_before(self, relay: Relay) -> None:
        async with relay.running(transaction_interval_ms=500):
            await relay.feed(b"a", b"b")
            await relay.kafka.advance(ms=100)
            relay.app.consumer("it").seek(IN, 0, 1)
            await relay.kafka.settle()
        assert relay.out == [b"a", b"b", b"b"]

    async def test_a_seek_during_a_transaction_writes_nothing_twice(self, relay: Relay) -> None:
        async with relay.running():
            await relay.warm_up()
            with relay.kafka.latency(commit_ms=400):
                await relay.feed(b"a", b"b")
                await relay.kafka.advance(ms=300)
                assert relay.written == [WARM, b"a", b"b"]
                relay.app.consumer("it").seek(IN, 0, 3)
                await relay.kafka.settle()
        assert relay.written == [WARM, b"a", b"b"]

    async def test_what_is_kept_counts_as_pending_bytes(self, relay: Relay) -> None:
        async def then(value: bytes, request: Request) -> None:
            await relay.send_out(bytes(60_000))

        relay.then = then
        keys = {"max_pending_bytes": 100_000, "max_poll_records": 1}
        async with relay.running(transaction_interval_ms=60_000, transaction_timeout_ms=90_000, **keys):
            await relay.kafka.settle()
            await relay.feed(*(b"%d" % number for number in range(10)))
            await relay.kafka.advance(ms=10_000)
            assert len(relay.handled) < 4
            await relay.kafka.settle()
        assert len(relay.out) == 20

    async def test_the_dead_letter_is_written_with_the_offset(self, relay: Relay) -> None:
        relay.then = fail
        policy = {"max_attempts": 1, "then": "dead_letter"}
        async with relay.running(transaction_interval_ms=500, on_error=policy):
            await relay.kafka.settle()
            await relay.feed(b"a")
            await relay.kafka.advance(ms=100)
            assert relay.kafka.records("in.g.dlq", isolation_level="read_uncommitted") == []
            await relay.kafka.settle()
            [letter] = relay.kafka.records("in.g.dlq")
            assert letter.value == b"a"

    async def test_the_dead_letter_of_a_record_that_cannot_be_read_is_written_with_its_offset(
        self, relay: Relay
    ) -> None:
        await relay.feed(b"a", b"b")
        relay.kafka.make_unreadable(IN, 0, offset=0)
        relay.kafka.fail_commits("unavailable", "unknown, lost", "refused")
        async with relay.running(on_error={"max_attempts": 1, "then": "dead_letter"}):
            await relay.kafka.settle()
        assert len(relay.kafka.records("in.g.dlq")) == 1
        assert relay.out == [b"b"]

    async def test_a_retry_topic_is_written_with_the_offset(self, relay: Relay) -> None:
        async def then(value: bytes, request: Request) -> None:
            if request.attempt == 1:
                raise ValueError(value)

        relay.then = then
        relay.kafka.fail_commits("unavailable", "unavailable")
        await relay.feed(b"a")
        async with relay.running(on_error={"max_attempts": 1, "retry_topics": [1_000], "then": "dead_letter"}):
            await relay.kafka.settle()
        waiting = relay.kafka.records("in.g.retry.1000", isolation_level="read_uncommitted")
        assert len(waiting) == 1
        assert relay.out == [b"a"]


class TestATransactionThatIsNotCommitted:
    @pytest.mark.parametrize("fault", ["refused", "unavailable"])
    async def test_is_repeated_as_it_was(self, relay: Relay, fault: CommitFault) -> None:
        lost, ended = Lost(relay), results(relay)
        async with relay.running():
            await relay.warm_up()
            relay.kafka.fail_commits(fault)
            await relay.feed(b"a", b"b")
            await relay.kafka.settle()
        assert relay.handled == [WARM, b"a", b"b"]
        assert relay.out == [WARM, b"a", b"b"]
        assert ended == [("committed", 1), ("aborted", 2), ("committed", 2)]
        assert lost == []

    @pytest.mark.parametrize("group_protocol", ["classic", "consumer"])
    async def test_is_not_left_open_by_a_stop(self, relay: Relay, group_protocol: str) -> None:
        next_process, keys = Relay(relay.kafka), {"group_protocol": group_protocol}
        async with relay.running(**keys):
            await relay.warm_up(0, 1)
            relay.kafka.fail_commits("unavailable")
            await relay.feed(b"a")
            await relay.kafka.advance(ms=50)  # the last commit of the stop fails
        async with next_process.running(**keys):
            began_s = relay.kafka.clock.now()
            await relay.kafka.settle()
            assert relay.kafka.clock.now() - began_s < 1.0  # on the virtual clock: the timeout is 10 s
            assert relay.out == [WARM, WARM, b"a"]

    async def test_is_aborted_when_the_brokers_are_back(self, relay: Relay) -> None:
        """Also if it has no successor: nobody waits for its timeout."""
        async with relay.running(transaction_timeout_ms=600_000):
            await relay.warm_up(0, 1)
            with relay.kafka.latency(commit_ms=40):
                await relay.feed(b"a")
                await relay.kafka.advance(ms=120)
                assert relay.written == [WARM, WARM, b"a"]
                relay.kafka.go_away()
                await relay.kafka.advance(ms=500)
            assert not aborted(relay)
            relay.kafka.come_back()
            await relay.kafka.advance(ms=1)
            assert aborted(relay)

    async def test_is_followed_by_a_source_with_the_same_transactional_id(
        self, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It ends the open transaction of the one before, which nobody else could before its timeout."""
        ids: list[str | None] = []
        source = MemoryCluster.source

        def seen(cluster: MemoryCluster, settings: ConsumerSettings) -> MemorySource:
            ids.append(settings.transactional_id)
            return source(cluster, settings)

        monkeypatch.setattr(MemoryCluster, "source", seen)
        async with relay.running():
            await relay.warm_up()
            relay.kafka.fail_commits("unknown, lost")
            await relay.feed(b"a")
            await relay.kafka.settle()

        assert len(ids) == 2
        assert ids[0] is not None
        assert len(set(ids)) == 1

    @pytest.mark.parametrize(("fault", "again"), [("unknown, written", []), ("unknown, lost", [b"a", b"b"])])
    async def test_with_an_unknown_result_is_found_out_by_a_new_source(
        self, relay: Relay, fault: CommitFault, again: list[bytes]
    ) -> None:
        lost = Lost(relay)
        async with relay.running():
            await relay.warm_up()
            relay.kafka.fail_commits(fault)
            await relay.feed(b"a", b"b")
            await relay.kafka.settle()
        assert relay.handled == [WARM, b"a", b"b", *again]
        assert relay.out == [WARM, b"a", b"b"]
        assert [str(error) for error in lost] == ["no answer, by the test"]

    async def test_with_an_unknown_result_does_not_use_up_the_restarts(self, relay: Relay) -> None:
        lost = Lost(relay)
        async with relay.running():
            for number in range(12):
                relay.kafka.fail_commits("unknown, lost")
                await relay.feed(b"%d" % number)
                await relay.kafka.settle()
        assert len(lost) >= 10
        assert relay.out == [b"%d" % number for number in range(12)]

    async def test_with_an_unknown_result_at_a_revoke_restarts_nothing(self, relay: Relay) -> None:
        lost = Lost(relay)
        async with relay.running(transaction_interval_ms=60_000, transaction_timeout_ms=90_000):
            await relay.feed(b"a")
            await relay.kafka.advance(ms=1_000)
            relay.kafka.fail_commits("unknown, lost")
            await relay.kafka.rebalance(GROUP)
            await relay.kafka.settle()
        assert relay.handled == [b"a", b"a"]
        assert relay.out == [b"a"]
        assert lost == []

    async def test_cuts_the_attempts_at_once_whose_records_are_read_again(self, relay: Relay) -> None:
        attempts: list[int] = []

        async def then(value: bytes, request: Request) -> None:
            if value == b"slow":
                attempts.append(request.attempt)
                if len(attempts) == 1:
                    await asyncio.get_running_loop().create_future()

        relay.then = then
        async with relay.running(concurrency=2, revoke_drain_timeout_ms=30_000):
            await relay.warm_up()
            await relay.feed(b"slow", key="s")
            await relay.kafka.advance(ms=200)
            relay.kafka.fail_commits("unknown, lost")
            await relay.feed(b"a", key="a")
            began_s = relay.kafka.clock.now()
            await relay.kafka.settle()
            assert relay.kafka.clock.now() - began_s < 10
        assert relay.out == [WARM, b"slow", b"a"]

    async def test_because_its_commit_was_cancelled_is_not_repeated(self, relay: Relay) -> None:
        async with relay.running():
            await relay.warm_up()
            with relay.kafka.latency(commit_ms=400):
                await relay.feed(b"a")
                await relay.kafka.advance(ms=300)
                assert relay.written == [WARM, b"a"]
                assert relay.app.service is not None
                [consumer] = relay.app.service.consumers.values()
                [commit] = [task for task in consumer.tasks if task.get_name().endswith("-commit")]
                commit.cancel()
                await relay.kafka.settle()
        assert relay.handled == [WARM, b"a", b"a"]
        assert relay.out == [WARM, b"a"]


class TestAMemberThatIsNotOneAnyMore:
    """It was frozen, and its partitions have another owner: nothing that it has sent is written."""

    @pytest.mark.parametrize("group_protocol", ["classic", "consumer"])
    async def test_writes_nothing(self, relay: Relay, group_protocol: str) -> None:
        other, keys = Relay(relay.kafka), {"group_protocol": group_protocol}
        slow: dict[str, Any] = {"transaction_interval_ms": 4_000, "transaction_timeout_ms": 9_000}
        async with relay.running(**keys, **slow), other.running(**keys, **slow):
            for partition in (0, 1):
                await relay.feed(*NUMBERS, partition=partition)
            await relay.kafka.advance(ms=500)
            assert len(relay.handled) == len(other.handled) == len(NUMBERS)  # finished, and kept
            await relay.kafka.expire(relay.app)
            await relay.kafka.settle()
        assert len(relay.handled) + len(other.handled) == 3 * len(NUMBERS)
        assert sorted(relay.out, key=str) == sorted([*NUMBERS, *NUMBERS])

    async def test_leaves_no_failed_transaction_open(self, relay: Relay) -> None:
        other = Relay(relay.kafka)
        async with relay.running(), other.running():
            await relay.warm_up(0, 1)
            owner = relay if WARM in relay.handled else other
            await relay.kafka.advance(ms=1_000)
            relay.kafka.fail_commits(*["unavailable"] * 8)
            await relay.feed(b"a")
            await relay.kafka.advance(ms=50)
            await relay.kafka.expire(owner.app)
            await relay.kafka.settle()
            assert relay.out == [WARM, WARM, b"a"]

    async def test_whose_transaction_is_under_way_is_waited_for(self, relay: Relay) -> None:
        """Its offsets are in the transaction already: the next owner begins only when its end is known."""
        other = Relay(relay.kafka)
        async with relay.running(), other.running():
            await relay.warm_up(0, 1)
            owner, next_owner = (relay, other) if WARM in relay.handled else (other, relay)
            with relay.kafka.latency(commit_ms=4_000):
                await relay.feed(b"a", b"b")
                await relay.kafka.advance(ms=2_500)
                assert relay.out == [WARM, WARM]
                await relay.kafka.expire(owner.app)
                await relay.kafka.settle()
        assert relay.written == [WARM, WARM, b"a", b"b"]
        assert next_owner.handled == [WARM]

    async def test_that_has_died_in_a_transaction_is_waited_for_until_its_timeout(self, relay: Relay) -> None:
        other = Relay(relay.kafka)
        keys: dict[str, Any] = {"transaction_timeout_ms": 600_000}
        async with relay.running(**keys):
            await relay.warm_up()
            await relay.feed(b"a", b"b")
            with relay.kafka.latency(commit_ms=4_000):
                await relay.kafka.advance(ms=3_000)
                await relay.kafka.crash(relay.app)
        assert relay.written == [WARM, b"a", b"b"]
        async with other.running(**keys):
            await relay.kafka.advance(ms=120_000)
            assert other.handled == []
            await relay.kafka.settle()
        assert other.handled == [b"a", b"b"]
        assert relay.out == [WARM, b"a", b"b"]
        assert relay.written == [WARM, b"a", b"b", b"a", b"b"]

    async def test_is_replaced_by_a_source_that_ends_its_transaction(self, relay: Relay) -> None:
        """Nobody waits for the transaction's timeout."""
        async with relay.running(transaction_timeout_ms=3_600_000):
            await relay.warm_up()
            relay.kafka.fail_commits("unknown, lost")
            await relay.feed(b"a")
            began_s = relay.kafka.clock.now()
            await relay.kafka.settle()
            assert relay.kafka.clock.now() - began_s < 60
        assert relay.out == [WARM, b"a"]


class TestTheLog:
    async def test_says_that_a_transaction_could_not_be_written(
        self, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def then(value: bytes, request: Request) -> None:
            await relay.send_out(bytes(2_000_000))

        relay.then = then
        async with relay.running({"max_request_size": 4_000_000}, on_error={"max_attempts": 1, "then": "skip"}):
            await relay.feed(b"a")
            await relay.kafka.settle()
        assert "consumer it could not write a transaction; restarting it in" in caplog.text

    async def test_names_the_partitions_of_a_transaction_that_failed(
        self, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        async with relay.running():
            await relay.warm_up()
            relay.kafka.fail_commits("unavailable")
            await relay.feed(b"a")
            await relay.kafka.settle()
        assert "could not commit in[0]=2" in caplog.text
