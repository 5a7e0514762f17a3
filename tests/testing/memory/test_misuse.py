"""Mistakes in tests have an error that says what to do."""

from __future__ import annotations

import pytest

from evkafka import EVKafkaApp, Request
from evkafka.exceptions import StartFailed, StopApp
from evkafka.testing import InMemoryKafka
from tests.testing.memory.apps import make_app


class TestNotRunning:
    async def test_settling_where_no_app_has_run(self) -> None:
        async with InMemoryKafka() as kafka:
            with pytest.raises(RuntimeError, match=r"no app has run on this Kafka yet: use `async with kafka\.running"):
                await kafka.settle()

    @pytest.mark.parametrize("what", ["crash", "expire"])
    async def test_crashing_an_app_that_does_not_run(self, what: str) -> None:
        async with InMemoryKafka() as kafka:
            with pytest.raises(RuntimeError, match="app 'Shop' does not run on this Kafka"):
                await getattr(kafka, what)(EVKafkaApp(title="Shop"))

    async def test_running_an_app_twice(self) -> None:
        app, _ = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            with pytest.raises(RuntimeError, match="already running"):
                await kafka.running(app).__aenter__()
            await kafka.crash(app)  # the first one is known still

    async def test_rebalancing_a_group_that_there_is_not(self) -> None:
        app, _ = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            with pytest.raises(RuntimeError, match="group 'biling' does not exist; the groups are 'billing'"):
                await kafka.rebalance("biling")


class TestFaults:
    def test_that_there_are_not(self) -> None:
        kafka = InMemoryKafka()
        with pytest.raises(ValueError, match="unknown fault 'rejected'; the faults are 'refused'"):
            kafka.fail_commits("rejected")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="unknown fault 'lost'"):
            kafka.fail_sends("lost")  # type: ignore[arg-type]


class TestAssertCommitted:
    async def test_shows_the_committed_offset_and_the_log(self) -> None:
        app, _ = make_app()
        async with InMemoryKafka(partitions=2) as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E", partition=0)
            await kafka.settle()
        with pytest.raises(AssertionError) as error:
            kafka.assert_committed(group="billing", topic="orders", partition=0, offset=2)
        assert str(error.value) == (
            "group 'billing' has committed 1 of orders[0], not 2; its records are offsets 0 to 0;"
            " it has committed offsets of other partitions: {'orders[1]': 0}"
        )

    @pytest.mark.parametrize(
        ("group", "topic", "partition", "said"),
        [
            ("biling", "orders", 0, "group 'biling' does not exist; the groups are 'billing'"),
            ("billing", "ordres", 0, "topic 'ordres' does not exist; the topics are 'orders'; did you mean 'orders'?"),
            ("billing", "orders", 1, "topic 'orders' has no partition 1: it has only partition 0"),
            ("idle", "orders", 0, "group 'idle' has not committed orders[0], not 1"),
        ],
    )
    async def test_names_what_does_not_exist(self, group: str, topic: str, partition: int, said: str) -> None:
        app, _ = make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            kafka.group("billing")
            if group == "idle":
                kafka.group("idle")
            with pytest.raises(AssertionError) as error:
                kafka.assert_committed(group=group, topic=topic, partition=partition, offset=1)
        assert said in str(error.value)

    async def test_none_means_nothing_committed(self) -> None:
        async with InMemoryKafka() as kafka:
            kafka.create_topic("orders")
            kafka.group("g")
            kafka.assert_committed(group="g", topic="orders", offset=None)


class TestAssertSent:
    @pytest.fixture
    async def kafka(self) -> InMemoryKafka:
        from tests.testing.memory.apps import Relay

        relay = Relay()
        async with InMemoryKafka() as kafka, kafka.running(relay.app):
            await kafka.send("in", {"key": "k", "number": 1}, "E")
            await kafka.settle()
        return kafka

    def test_returns_the_matching_records(self, kafka: InMemoryKafka) -> None:
        [record] = kafka.assert_sent("out", "Relayed", event={"number": 1, "key": "k"}, key=b"k")
        assert record.offset == 0

    def test_shows_the_records_that_were_sent(self, kafka: InMemoryKafka) -> None:
        with pytest.raises(AssertionError) as error:
            kafka.assert_sent("out", "Relayed", event={"number": 2})
        assert str(error.value) == (
            "no app has sent a record to 'out' with event_type='Relayed', event={'number': 2}\n"
            "apps have sent these records to it:\n"
            '  [0]@0 Relayed key=b\'k\' b\'{"key": "k", "number": 1}\''
        )

    def test_tells_where_to_apps_have_sent(self, kafka: InMemoryKafka) -> None:
        with pytest.raises(AssertionError, match=r"apps have sent nothing to it, only to \['out'\]"):
            kafka.assert_sent("oust")

    def test_does_not_count_records_of_the_test_itself(self, kafka: InMemoryKafka) -> None:
        with pytest.raises(AssertionError, match="the 1 records in it were written by the test itself"):
            kafka.assert_sent("in", "E")

    def test_counts(self, kafka: InMemoryKafka) -> None:
        kafka.assert_sent("out", times=1)
        kafka.assert_sent("out", "Other", times=0)
        with pytest.raises(AssertionError, match="no app has sent 2 records to 'out': 1 match"):
            kafka.assert_sent("out", times=2)

    def test_compares_headers_among_others(self, kafka: InMemoryKafka) -> None:
        kafka.assert_sent("out", headers={"Event-Type": "Relayed"})
        with pytest.raises(AssertionError, match="headers="):
            kafka.assert_sent("out", headers={"trace": "1"})


class TestStarting:
    async def test_in_an_outage_fails_as_it_does_at_a_real_cluster(self) -> None:
        app, _ = make_app()
        async with InMemoryKafka() as kafka:
            kafka.go_away()
            with pytest.raises(StartFailed, match="the in-memory Kafka is unavailable"):
                await kafka.running(app).__aenter__()
            kafka.come_back()
            async with kafka.running(app):
                await kafka.settle()

    async def test_ends_with_the_app_where_a_record_stops_it(self) -> None:
        async def fail(request: Request) -> None:
            raise ValueError("no stock")

        app, seen = make_app(fail, on_error={"max_attempts": 2, "then": "stop"})
        async with InMemoryKafka() as kafka:
            with pytest.raises(StopApp, match=r"orders\[0\]@0 stops the app"):
                await _send_and_settle(kafka, app)
            kafka.assert_committed(group="billing", topic="orders", offset=0)
        assert seen == [(0, 0), (0, 0)]


async def _send_and_settle(kafka: InMemoryKafka, app: EVKafkaApp) -> None:
    async with kafka.running(app):
        await kafka.send("orders", b"x", "E")
        await kafka.settle()
