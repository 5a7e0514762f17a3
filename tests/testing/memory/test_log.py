"""The log has Kafka's semantics: gaps, transactions, compaction, retention, truncation, unreadable records."""

from __future__ import annotations

from contextlib import suppress

import pytest

from evkafka import Request
from evkafka.testing import InMemoryKafka
from tests.testing.memory.apps import make_app


class TestTransactions:
    async def test_aborted_records_are_not_read_by_read_committed(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            async with kafka.transaction() as transaction:
                await transaction.send("orders", b"aborted", "E")
                transaction.abort()
            async with kafka.transaction() as transaction:
                await transaction.send("orders", b"committed", "E")
            await kafka.settle()
        assert seen == [(0, 2)]
        assert [record.value for record in kafka.records("orders")] == [b"committed"]
        kafka.assert_committed(group="billing", topic="orders", offset=4)  # behind both markers: lag reads 0

    async def test_aborted_records_are_seen_by_who_reads_all(self) -> None:
        app, seen = make_app(isolation_level="read_uncommitted")
        async with InMemoryKafka() as kafka, kafka.running(app):
            async with kafka.transaction() as transaction:
                await transaction.send("orders", b"aborted", "E")
                transaction.abort()
            await kafka.settle()
        assert seen == [(0, 0)]
        assert len(kafka.records("orders", isolation_level="read_uncommitted")) == 1

    async def test_an_open_transaction_holds_back_later_records(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"before", "E")
            async with kafka.transaction() as transaction:
                await transaction.send("orders", b"inside", "E")
                await kafka.send("orders", b"behind", "E")
                await kafka.settle()
                assert seen == [(0, 0)]
                kafka.assert_committed(group="billing", topic="orders", offset=1)
            await kafka.settle()
        assert seen == [(0, 0), (0, 1), (0, 2)]

    async def test_an_error_inside_aborts_it(self) -> None:
        async with InMemoryKafka() as kafka:
            transactions = []
            with suppress(ZeroDivisionError):
                async with kafka.transaction() as transaction:
                    transactions.append(transaction)
                    await transaction.send("orders", b"x", "E")
                    raise ZeroDivisionError
            assert kafka.records("orders") == []
            with pytest.raises(RuntimeError, match="this transaction has ended"):
                await transactions[0].send("orders", b"x", "E")


class TestGaps:
    async def test_hold_up_nothing(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            kafka.make_gap("orders", offsets=3)
            await kafka.send("orders", b"x", "E")
            kafka.make_gap("orders")
            await kafka.settle()
        assert seen == [(0, 0), (0, 4)]
        kafka.assert_committed(group="billing", topic="orders", offset=6)

    async def test_compaction_keeps_the_last_record_of_each_key(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka:
            for key in ("a", "b", "a", None, "b", "c"):
                await kafka.send("orders", b"x", "E", key=key)
            await kafka.send("orders", None, "E", key="c")
            kafka.compact("orders")
            assert [record.offset for record in kafka.records("orders")] == [2, 3, 4, 6]
            kafka.compact("orders", drop_tombstones=True)
            async with kafka.running(app):
                await kafka.settle()
        assert seen == [(0, 2), (0, 3), (0, 4)]
        kafka.assert_committed(group="billing", topic="orders", offset=7)


class TestLosses:
    async def test_retention_resets_a_position_that_is_deleted(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka:
            for _ in range(5):
                await kafka.send("orders", b"x", "E")
            kafka.commit("billing", "orders", offset=1)
            kafka.delete_records("orders", before=3)
            async with kafka.running(app):
                await kafka.settle()
        assert seen == [(0, 3), (0, 4)]
        kafka.assert_committed(group="billing", topic="orders", offset=5)

    @pytest.mark.parametrize(("reset", "offsets"), [("earliest", [2]), ("latest", [])])
    async def test_retention_under_a_running_reader_takes_the_reset_rule(self, reset: str, offsets: list[int]) -> None:
        app, seen = make_app(auto_offset_reset=reset)
        async with InMemoryKafka() as kafka, kafka.running(app):
            with kafka.latency(fetch_ms=100):
                for _ in range(3):
                    await kafka.send("orders", b"x", "E")
                kafka.delete_records("orders", before=2)
                await kafka.settle()
        assert seen.offsets() == offsets
        kafka.assert_committed(group="billing", topic="orders", offset=3)

    async def test_a_truncated_log_is_read_on_at_the_cut(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            for _ in range(3):
                await kafka.send("orders", b"x", "E")
            await kafka.settle()
            kafka.lose_records("orders", after=1)
            await kafka.settle()
            kafka.assert_committed(group="billing", topic="orders", offset=1)
            await kafka.send("orders", b"new", "E")
            await kafka.settle()
        assert seen.offsets() == [0, 1, 2, 1]
        kafka.assert_committed(group="billing", topic="orders", offset=2)


class TestRecords:
    async def test_headers_may_be_null_and_stand_twice(self) -> None:
        found = []

        async def keep(request: Request) -> None:
            found.append((request.raw_headers, request.headers.get("a"), request.event_type))

        app, _ = make_app(keep)
        headers = [("a", b"1"), ("a", "2"), ("null", None)]
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E", headers=headers)
            await kafka.settle()
        [(raw, last, event_type)] = found
        assert list(raw) == [("Event-Type", b"E"), ("a", b"1"), ("a", b"2"), ("null", None)]
        assert (last, event_type) == (b"2", "E")

    async def test_a_tombstone_has_no_value(self) -> None:
        async with InMemoryKafka() as kafka:
            record = await kafka.send("orders", None, "E", key="1")
        assert record.value is None
        with pytest.raises(ValueError, match=r"orders\[0\]@0 is a tombstone"):
            record.json()

    async def test_an_unreadable_record_blocks_its_partition_and_is_named(self) -> None:
        app, seen = make_app()
        async with InMemoryKafka(partitions=2) as kafka, kafka.running(app):
            for partition in (0, 0, 1):
                await kafka.send("orders", b"x", "E", partition=partition)
            kafka.make_unreadable("orders", 0, offset=1)
            with pytest.raises(AssertionError, match=r"offset 1 cannot be read"):
                await kafka.settle(max_ms=60_000)
            assert sorted(seen) == [(0, 0), (1, 0)]
            kafka.assert_committed(group="billing", topic="orders", partition=0, offset=1)
