"""A record that has ended its process in its last attempt is settled like one whose last attempt has failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from evkafka import DeadLetter, EVKafkaApp, Handler, Request
from evkafka.exceptions import StopApp
from evkafka.telemetry import RecordsProcessed
from evkafka.testing import InMemoryKafka
from tests.support.engine import GROUP, TOPIC

LETTERS = f"{TOPIC}.{GROUP}.dlq"
ORDERS: dict[str, dict[str, Any]] = {
    "by key": {"concurrency": 4},
    "by partition": {"concurrency": 4, "ordering": "partition"},
    "at concurrency 1": {"concurrency": 1},
}
EXACTLY_ONCE: dict[str, Any] = {"concurrency": 4, "auto_commit_mode": "exactly-once"}
TWICE: dict[str, Any] = {"max_attempts": 2, "then": "dead_letter"}
STOP: dict[str, Any] = {"max_attempts": 2, "then": "stop"}
LIMITED: dict[str, Any] = {**TWICE, "dead_letter_limit": {"consecutive": 1, "ratio": 1.0, "window": 100}}


class Begun(NamedTuple):
    """An attempt.

    Attributes:
        letters: how many dead letters there were when it began.
    """

    value: str
    attempt: int
    letters: int


class Service:
    """One consumer. What its endpoint does depends on the value.

    Attributes:
        kills: whether its process dies of the value `kill`.
        when_begun: called at the beginning of each attempt.
        go_on: lets the second attempt at the value `again` end.
    """

    def __init__(self, kafka: InMemoryKafka, *, batch: bool = False, **config: Any) -> None:
        self.kafka = kafka
        self.begun: list[Begun] = []
        self.statuses: Counter[str] = Counter()
        self.go_on = asyncio.Event()
        self.kills = True
        self.when_begun: Callable[[Request], object] = lambda request: None
        self._tried_again = asyncio.Event()
        self._dies = asyncio.Event()
        self._batch = batch
        self._config = {
            "topics": [TOPIC],
            "group_id": GROUP,
            "auto_offset_reset": "earliest",
            "on_error": TWICE,
            **config,
        }

    @property
    def values(self) -> list[str]:
        return [one.value for one in self.begun]

    def app(self) -> EVKafkaApp:
        handler = Handler()
        if self._batch:

            @handler.event("E", batch=True, max_wait_ms=10)
            async def on_events(values: list[bytes], requests: list[Request]) -> None:
                for value, request in zip(values, requests, strict=True):
                    await self._handle(value, request)
        else:
            handler.event("E")(self._handle)
        app = EVKafkaApp()
        app.add_consumer(
            {"max_endpoint_exec_time_ms": 3_600_000, **self._config},  # type: ignore[arg-type]
            handler,
        )
        app.telemetry.listen(RecordsProcessed, self._count)
        return app

    async def _handle(self, value: bytes, request: Request) -> None:
        self.when_begun(request)
        self.begun.append(Begun(value.decode(), request.attempt, len(self.kafka.records(LETTERS))))
        if value == b"again":
            if request.attempt < 3:
                raise ValueError("by the test")
            self._tried_again.set()
            await self.go_on.wait()
        if value == b"meanwhile":
            await self._tried_again.wait()
        if value == b"once" and request.attempt == 1:
            raise ValueError("by the test")
        if value == b"late" and request.attempt < 3:
            raise ValueError("by the test")
        if value in (b"kill", b"late") and self.kills:
            self._dies.set()
            await asyncio.get_running_loop().create_future()
        if value == b"bury":
            raise DeadLetter("by the test")

    def _count(self, event: RecordsProcessed) -> None:
        for (_, status), durations_s in event.durations_s.items():
            self.statuses[status] += len(durations_s)

    async def die(self, times: int) -> None:
        """Run until the record has ended so many processes."""
        for _ in range(times):
            self._dies.clear()
            app = self.app()
            async with self.kafka.running(app, joined=False):
                while not self._dies.is_set():
                    await self.kafka.advance(ms=10)
                await self.kafka.crash(app)
            await self.kafka.advance(ms=20_000)  # its session expires
        self.begun.clear()
        self.statuses.clear()

    async def run_for(self, ms: float, *, crashes: bool = False) -> None:
        app = self.app()
        async with self.kafka.running(app):
            await self.kafka.advance(ms=ms)
            if crashes:
                await self.kafka.crash(app)
        if crashes:
            await self.kafka.advance(ms=20_000)  # its session expires


@pytest.fixture
async def kafka() -> AsyncIterator[InMemoryKafka]:
    async with InMemoryKafka(seed=1) as kafka:
        kafka.create_topic(TOPIC, 1)
        yield kafka


async def send(kafka: InMemoryKafka, *values: bytes, key: str | None = "k") -> None:
    for value in values:
        await kafka.send(TOPIC, value, "E", key=key)


class TestADeadLetterThatCannotBeWritten:
    @pytest.mark.parametrize("batch", [False, True])
    @pytest.mark.parametrize("config", ORDERS.values(), ids=ORDERS)
    async def test_keeps_the_records_after_it_from_beginning(
        self, kafka: InMemoryKafka, config: dict[str, Any], batch: bool
    ) -> None:
        await send(kafka, b"kill", b"next")
        service = Service(kafka, batch=batch, **config)
        await service.die(2)
        kafka.fail_sends(*["refused"] * 3, topic=LETTERS)
        await service.run_for(60_000)
        assert service.begun == [("next", 1, 1)]
        assert kafka.committed(GROUP, TOPIC) == 2

    async def test_that_is_a_record_for_a_retry_topic_does_so_too(self, kafka: InMemoryKafka) -> None:
        await send(kafka, b"kill", b"next")
        service = Service(kafka, on_error={**TWICE, "retry_topics": [1_000_000]})
        await service.die(2)
        retry_topic = f"{TOPIC}.{GROUP}.retry.1000000"
        kafka.fail_sends(*["refused"] * 3, topic=retry_topic)
        await service.run_for(1_000)
        assert service.begun == []
        assert kafka.records(retry_topic) == []
        await service.run_for(10_000)
        assert service.values == ["next"]
        assert service.statuses == {"retried": 1, "ok": 1}

    async def test_delays_no_record_of_another_key(self, kafka: InMemoryKafka) -> None:
        await send(kafka, b"kill", b"next")
        await send(kafka, b"other", key="other")
        service = Service(kafka, concurrency=4)
        await service.die(2)
        kafka.fail_sends(*["refused"] * 3, topic=LETTERS)
        await service.run_for(60_000)
        assert service.begun == [("other", 1, 0), ("next", 1, 1)]

    @pytest.mark.parametrize("config", [{"ordering": "unordered"}, {}], ids=["unordered", "without a key"])
    async def test_delays_no_record_that_needs_no_order(self, kafka: InMemoryKafka, config: dict[str, Any]) -> None:
        await send(kafka, b"kill", b"next", key=None if not config else "k")
        service = Service(kafka, concurrency=4, **config)
        await service.die(2)
        kafka.fail_sends(*["refused"] * 3, topic=LETTERS)
        await service.run_for(60_000)
        assert service.begun == [("next", 1, 0)]
        assert len(kafka.records(LETTERS)) == 1

    @pytest.mark.parametrize("crashes", [False, True], ids=["stop", "crash"])
    @pytest.mark.parametrize("config", ORDERS.values(), ids=ORDERS)
    async def test_is_written_by_the_next_owner_without_another_attempt(
        self, kafka: InMemoryKafka, config: dict[str, Any], crashes: bool
    ) -> None:
        """Also after two owners that could not write it, and however they have ended."""
        await send(kafka, b"kill", b"next")
        await send(kafka, b"other", key="other")
        service = Service(kafka, **config)
        await service.die(2)
        kafka.fail_sends(*["refused"] * 8, topic=LETTERS)
        await service.run_for(2_000, crashes=crashes)
        await service.run_for(2_000, crashes=crashes)
        assert len(kafka.records(LETTERS)) == 0
        await service.run_for(60_000)
        assert [one for one in service.begun if one.value != "other"] == [("next", 1, 1)]
        assert service.values.count("other") == 1
        assert [letter.header("evkafka-dlq-attempts") for letter in kafka.records(LETTERS)] == [b"2"]
        assert "alone" not in kafka.committed_metadata(GROUP, TOPIC)

    async def test_is_written_while_its_partition_is_revoked(self, kafka: InMemoryKafka) -> None:
        """A write that has not failed may go on: the next owner finds no record to settle."""
        await send(kafka, b"kill", b"next")
        service = Service(kafka)
        await service.die(2)
        with kafka.latency(produce_ms=1_000):
            await service.run_for(100)
        assert service.begun == []
        assert len(kafka.records(LETTERS)) == 1
        assert kafka.committed(GROUP, TOPIC) == 1
        assert "alone" not in kafka.committed_metadata(GROUP, TOPIC)

    async def test_is_written_after_a_rebalance_without_another_attempt(self, kafka: InMemoryKafka) -> None:
        await send(kafka, b"kill", b"next")
        service = Service(kafka)
        await service.die(2)
        kafka.fail_sends(*["refused"] * 4, topic=LETTERS)
        async with kafka.running(service.app()):
            await kafka.advance(ms=1_000)
            await kafka.rebalance(GROUP)
            await kafka.advance(ms=60_000)
        assert service.begun == [("next", 1, 1)]
        assert service.statuses == {"dead_lettered": 1, "ok": 1}


class TestARecordBehindOneOfItsKey:
    @pytest.mark.parametrize("batch", [False, True])
    async def test_is_not_waited_for_while_that_one_is_tried_again(self, kafka: InMemoryKafka, batch: bool) -> None:
        """That may take long, and no crash until then is its own."""
        await send(kafka, b"kill")
        service = Service(kafka, batch=batch, concurrency=4, on_error={"max_attempts": 9, "then": "dead_letter"})
        await service.die(1)
        for value, key in ((b"again", "k"), (b"meanwhile", "m"), (b"behind", "k"), (b"last", "l")):
            await send(kafka, value, key=key)
        service.kills = False
        async with kafka.running(service.app()):
            await kafka.advance(ms=5_000)
            assert service.values == ["kill", "again", "meanwhile", "again", "last"]
            service.go_on.set()
            await kafka.advance(ms=5_000)
        assert service.begun[-1] == ("behind", 1, 0)


class TestAPausedPartition:
    async def test_delays_no_other_partition(self, kafka: InMemoryKafka) -> None:
        """Both have lost their owner, so records of one at a time are handled."""
        topics = ["u", "v"]
        for topic in topics:
            kafka.create_topic(topic, 1)
            for value in (b"kill", b"next", b"last"):
                await kafka.send(topic, value, "E", key="k")
        service = Service(kafka, concurrency=4, topics=topics)
        await service.die(1)
        assert ["begun:1" in kafka.committed_metadata(GROUP, topic) for topic in topics] == [True, True]
        service.kills = False
        begun: list[tuple[str, int]] = []
        app = service.app()
        consumer = app.consumer("consumer-1")

        def pause_topic_of_first(request: Request) -> None:
            begun.append((request.topic, request.offset))
            if len(begun) == 1:
                consumer.pause(request.topic, 0)

        service.when_begun = pause_topic_of_first
        async with kafka.running(app):
            await kafka.advance(ms=60_000)
            [paused, other] = sorted(topics, key=lambda topic: topic != begun[0][0])
            assert begun == [(paused, 0), (other, 0), (other, 1), (other, 2)]
            consumer.resume(paused, 0)
            await kafka.advance(ms=5_000)
        assert begun[4:] == [(paused, 1), (paused, 2)]


class TestARecordWrittenAfterATruncation:
    @pytest.mark.parametrize("max_poll_records", [1, 500])
    @pytest.mark.parametrize("truncated", [True, False])
    @pytest.mark.parametrize("config", ORDERS.values(), ids=ORDERS)
    async def test_is_not_charged_with_the_death_of_an_earlier_owner(
        self, kafka: InMemoryKafka, config: dict[str, Any], truncated: bool, max_poll_records: int
    ) -> None:
        """That owner has not read it. The one before it may still be the cause."""
        await send(kafka, b"kill", b"next")
        service = Service(kafka, max_poll_records=max_poll_records, **config)
        await service.die(1)
        if truncated:
            kafka.lose_records(TOPIC, after=1)
            await send(kafka, b"next")
        service.kills = False
        await service.run_for(10_000)
        assert service.begun == [("kill", 2, 0), ("next", 1 if truncated else 2, 0)]


class TestTheVerdict:
    @pytest.mark.parametrize("batch", [False, True])
    @pytest.mark.parametrize("config", [*ORDERS.values(), EXACTLY_ONCE], ids=[*ORDERS, "exactly once"])
    @pytest.mark.parametrize(("then", "status"), [("skip", "failed"), ("dead_letter", "dead_lettered")])
    async def test_is_counted_as_the_end_of_an_attempt(
        self, kafka: InMemoryKafka, then: str, status: str, config: dict[str, Any], batch: bool
    ) -> None:
        await send(kafka, b"kill", b"next")
        service = Service(kafka, batch=batch, **config, on_error={"max_attempts": 2, "then": then})
        await service.die(2)
        await service.run_for(5_000)
        assert service.statuses == {status: 1, "ok": 1}
        assert service.values == ["next"]
        assert kafka.committed(GROUP, TOPIC) == 2

    @pytest.mark.parametrize("config", [*ORDERS.values(), EXACTLY_ONCE], ids=[*ORDERS, "exactly once"])
    @pytest.mark.parametrize("policy", [STOP, LIMITED], ids=["then stop", "dead_letter_limit"])
    async def test_that_stops_the_app_is_counted_and_no_later_record_begins(
        self, kafka: InMemoryKafka, policy: dict[str, Any], config: dict[str, Any]
    ) -> None:
        service = Service(kafka, **config, on_error=policy)
        await send(kafka, b"bury")
        if policy is LIMITED:
            await service.run_for(5_000)
        else:
            kafka.commit(GROUP, TOPIC, offset=1)
        await send(kafka, b"kill", b"next")
        await service.die(2)
        await send(kafka, b"other", key="other")
        with pytest.raises(StopApp, match=r"t\[0\]@1 stops the app"):
            await service.run_for(5_000)
        assert service.statuses == {"failed": 1}
        assert service.begun == []
        assert kafka.committed(GROUP, TOPIC) == 1

    async def test_that_stops_the_app_is_made_again_after_its_next_attempt(self, kafka: InMemoryKafka) -> None:
        """As after each attempt that stops the app: the cause may be fixed."""
        await send(kafka, b"kill")
        service = Service(kafka, on_error=STOP)
        await service.die(2)
        with pytest.raises(StopApp):
            await service.run_for(5_000)
        await service.die(1)


class TestARecordOfARetryTopic:
    async def test_is_not_counted_as_killed_before_it_is_due(self, kafka: InMemoryKafka) -> None:
        await send(kafka, b"once")
        service = Service(kafka, on_error={"max_attempts": 1, "retry_topics": [200_000], "then": "dead_letter"})
        await service.run_for(1_000)
        for _ in range(4):
            await service.run_for(1_000, crashes=True)
        await service.run_for(200_000)
        assert service.values == ["once", "once"]
        assert kafka.records(LETTERS) == []

    @pytest.mark.parametrize("batch", [False, True])
    async def test_has_all_attempts_in_its_dead_letter(self, kafka: InMemoryKafka, batch: bool) -> None:
        """Two in the topic, two in the retry topic."""
        await send(kafka, b"late")
        service = Service(kafka, batch=batch, on_error={**TWICE, "backoff_ms": 10, "retry_topics": [1_000]})
        await service.die(2)
        await service.run_for(5_000)
        assert service.begun == []
        assert [letter.header("evkafka-dlq-attempts") for letter in kafka.records(LETTERS)] == [b"4"]

    async def test_has_all_attempts_in_its_copy_in_the_next_retry_topic(self, kafka: InMemoryKafka) -> None:
        await send(kafka, b"late")
        service = Service(kafka, on_error={**TWICE, "backoff_ms": 10, "retry_topics": [1_000, 1_000_000]})
        await service.die(2)
        await service.run_for(5_000)
        [copy] = kafka.records(f"{TOPIC}.{GROUP}.retry.1000000")
        assert copy.header("evkafka-retry-attempts") == b"4"
