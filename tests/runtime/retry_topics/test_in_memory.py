"""Retry topics on the in-memory Kafka, whose virtual clock skips the delays."""

from __future__ import annotations

from evkafka.testing import InMemoryKafka
from tests.runtime.retry_topics.apps import Seen, app_of


class TestARecordThatFails:
    async def test_is_retried_in_each_retry_topic_and_becomes_a_dead_letter_of_its_source(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1, partitions=3) as kafka, kafka.running(app_of(seen)):
            await kafka.send("orders", {"number": 1}, event_type="E", key="k", partition=2, headers={"own": b"\xff"})
            await kafka.settle()
        [dead] = kafka.records("orders.g.dlq")
        [first] = kafka.records("orders")
        assert seen.of(1) == [1, 2, 3, 4, 5, 6]
        assert (dead.key, dead.value, dead.partition) == (first.key, first.value, 2)
        assert dead.headers[: len(first.headers)] == first.headers
        headers = dict(dead.headers[len(first.headers) :])
        assert (headers["evkafka-dlq-topic"], headers["evkafka-dlq-partition"], headers["evkafka-dlq-offset"]) == (
            b"orders",
            b"2",
            b"0",
        )
        assert headers["evkafka-dlq-id"] == b"g/memory/orders:topic-0/2/0"
        assert headers["evkafka-dlq-group"] == b"g"
        assert headers["evkafka-dlq-attempts"] == b"6"
        assert not [name for name in headers if not name.startswith("evkafka-dlq-")]
        kafka.assert_committed(group="g", topic="orders", partition=2, offset=1)
        kafka.assert_committed(group="g.retry", topic="orders.g.retry.5000", partition=2, offset=1)
        kafka.assert_committed(group="g.retry", topic="orders.g.retry.60000", partition=2, offset=1)

    async def test_is_unchanged_for_its_endpoint(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen)):
            await kafka.send("orders", {"number": 0}, event_type="E")
            await kafka.send("orders", {"number": 1}, event_type="E", key="k", headers={"own": b"1"})
            await kafka.settle()
        views = {(r.topic, r.partition, r.offset, r.timestamp_ms, r.key, r.raw_headers) for r in seen.requests[1:]}
        assert len(seen.requests) == 7
        assert len(views) == 1

    async def test_is_finished_in_the_retry_topic_in_which_it_succeeds(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen)):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.advance(ms=4_900)
            assert seen.of(1) == [1, 2]
            seen.failing.clear()
            await kafka.settle()
        assert seen.of(1) == [1, 2, 3]
        assert kafka.records("orders.g.retry.60000") == []
        assert kafka.records("orders.g.dlq") == []

    async def test_blocks_no_later_record(self) -> None:
        seen = Seen(failing={0})
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen)):
            for number in range(3):
                await kafka.send("orders", {"number": number}, event_type="E", key="k")
            await kafka.advance(ms=1_000)
            assert [number for number, _ in seen.attempts] == [0, 0, 1, 2]
            kafka.assert_committed(group="g", topic="orders", offset=3)

    async def test_has_headers_for_its_attempts_and_its_origin(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen)):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.settle()
        for topic, attempts in (("orders.g.retry.5000", b"2"), ("orders.g.retry.60000", b"4")):
            [record] = kafka.records(topic)
            headers = {name: value for name, value in record.headers if name.startswith("evkafka-retry-")}
            assert headers == {
                "evkafka-retry-topic": b"orders",
                "evkafka-retry-partition": b"0",
                "evkafka-retry-offset": b"0",
                "evkafka-retry-timestamp": str(kafka.records("orders")[0].timestamp).encode(),
                "evkafka-retry-group": b"g",
                "evkafka-retry-id": b"g/memory/orders:topic-0/0/0",
                "evkafka-retry-event-type": b"E",
                "evkafka-retry-attempts": attempts,
                "evkafka-retry-error-type": b"builtins.ConnectionError",
                "evkafka-retry-error-message": b"number 1 cannot be handled yet",
            }


class TestWhenItIsDue:
    async def test_it_never_runs_early(self) -> None:
        seen = Seen(failing={1, 2})
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen)):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.advance(ms=2_000)
            await kafka.send("orders", {"number": 2}, event_type="E")
            await kafka.advance(ms=2_900)  # 10 ms after it came the first one was written to its retry topic
            assert (seen.of(1), seen.of(2)) == ([1, 2], [1, 2])
            await kafka.advance(ms=500)
            assert (seen.of(1), seen.of(2)) == ([1, 2, 3, 4], [1, 2])
            await kafka.advance(ms=2_000)
            assert seen.of(2) == [1, 2, 3, 4]

    async def test_the_time_is_kept_over_a_restart(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1) as kafka:
            async with kafka.running(app_of(seen)):
                await kafka.send("orders", {"number": 1}, event_type="E")
                await kafka.advance(ms=3_000)
            async with kafka.running(app_of(seen)):
                await kafka.advance(ms=1_900)
                assert seen.of(1) == [1, 2]
                await kafka.advance(ms=1_000)
                assert seen.of(1) == [1, 2, 3, 4]
                kafka.assert_committed(group="g.retry", topic="orders.g.retry.5000", offset=1)

    async def test_the_time_is_kept_over_a_rebalance(self) -> None:
        seen = Seen(failing={1})
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen)):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.advance(ms=3_000)
            await kafka.rebalance("g.retry")
            await kafka.advance(ms=1_900)
            assert seen.of(1) == [1, 2]
            await kafka.advance(ms=1_000)
            assert seen.of(1) == [1, 2, 3, 4]

    async def test_a_fast_clock_of_the_writer_does_not_delay_it(self) -> None:
        seen = Seen()
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app_of(seen)):
            hour_ahead = kafka.clock.timestamp_ms() + 3_600_000
            await kafka.send("orders.g.retry.5000", {"number": 1}, event_type="E", timestamp_ms=hour_ahead)
            await kafka.advance(ms=4_900)
            assert seen.of(1) == []
            await kafka.advance(ms=1_000)
            assert seen.of(1) == [1]

    async def test_a_waiting_record_is_shown_and_no_commit_passes_it(self) -> None:
        seen = Seen(failing={1})
        app = app_of(seen)
        async with InMemoryKafka(seed=1) as kafka, kafka.running(app):
            await kafka.send("orders", {"number": 1}, event_type="E")
            await kafka.advance(ms=3_000)
            [waiting] = [one for one in app.status().consumers if one.name == "orders.retry"]
            [first] = [one for one in waiting.partitions if one.topic == "orders.g.retry.5000"]
            assert (first.position, first.end, first.lag, first.pending) == (0, 1, 1, 1)
            assert first.due_in_s is not None
            assert 1.5 < first.due_in_s < 2.5
            kafka.assert_committed(group="g.retry", topic="orders.g.retry.5000", offset=0)
            await kafka.settle()
            [first] = [one for one in app.status().consumers[1].partitions if one.topic == "orders.g.retry.5000"]
            assert (first.lag, first.due_in_s) == (0, None)
