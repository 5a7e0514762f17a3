"""One case on the in-memory Kafka: the app that runs it, and the comparison of what came of it with what should."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evkafka import BatchError, DeadLetter, EVKafkaApp, Handler, Request, Retry, Skip
from evkafka.observe.log_format import JsonFormatter
from evkafka.runtime.settle import StopApp
from evkafka.telemetry import ConsumerLost
from evkafka.testing import InMemoryKafka
from tests.fuzz.expected import Expected, Order, expected
from tests.fuzz.inputs import ID, Case, Headers, Sent

TOPIC = "t"
OURS = ("evkafka-", "kafka_dlt-")
SLOW_S = 60
"""Most of the real clock that a case may take: milliseconds are usual."""


class Rude(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Odd:
    """A result that cannot be compared, nor asked whether it is true."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __bool__ = __repr__ = __str__ = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class Endpoints:
    """Attributes:
    calls: record -> how often it was given to an endpoint; those of `plain` cannot be told apart.
    done: record -> how often that ended well.
    """

    def __init__(self, *, default: bool) -> None:
        self.calls, self.done, self.plain = Counter[int](), Counter[int](), 0
        self.handler = handler = Handler()

        @handler.event("model")
        async def on_model(order: Order, request: Request) -> object:
            return await self._do(order.do, request)

        @handler.event("plain")
        async def on_plain(order: Order) -> object:
            self.plain += 1
            return await self._act(order.do, first=True)

        @handler.event("bytes")
        async def on_bytes(value: bytes, request: Request) -> object:
            return await self._do("ok", request)

        @handler.event("nullable")
        async def on_nullable(order: Order | None, request: Request) -> object:
            return await self._do("ok" if order is None else order.do, request)

        @handler.event("batch", batch=True, max_records=4, max_wait_ms=20)
        async def on_batch(orders: list[Order], requests: list[Request]) -> None:
            failed: dict[int, BaseException] = {}
            for index, (order, request) in enumerate(zip(orders, requests, strict=True)):
                try:
                    result = await self._do(order.do, request)
                except (Exception, asyncio.CancelledError) as error:
                    failed[index] = error if isinstance(error, Exception) else ValueError("instead")
                else:
                    if isinstance(result, Skip | DeadLetter | Retry):
                        failed[index] = result
            if failed:
                raise BatchError(failed)

        if default:

            @handler.default()
            async def on_any(value: bytes, request: Request) -> object:
                return await self._do("ok", request)

    async def _do(self, deed: str, request: Request) -> object:
        number = int(request.headers[ID])
        self.calls[number] += 1
        result = await self._act(deed, first=self.calls[number] == 1)
        self.done[number] += 1
        return result

    async def _act(self, deed: str, *, first: bool) -> object:
        await asyncio.sleep(0)
        match deed:
            case "skip":
                return Skip("by the record")
            case "bury":
                return DeadLetter("by the record")
            case "again":
                return Retry(after_ms=3)
            case "odd":
                return Odd()
            case "fails once" if first:
                raise ValueError("the first time")
            case "fails":
                raise ValueError("always \ud800")
            case "hopeless":
                raise LookupError("by the record")
            case "rude":
                raise Rude
            case "cancelled":
                raise asyncio.CancelledError
        return None


class Lines(logging.Handler):
    """Shows each line as text and as JSON; what cannot be shown is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[BaseException] = []
        self._formatters = (logging.Formatter(), JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        for formatter in self._formatters:
            try:
                formatter.format(record)
            except Exception as error:  # whatever it is, it is what is looked for
                self.faults.append(error)


@contextmanager
def lines() -> Iterator[Lines]:
    logger, taken = logging.getLogger("evkafka"), Lines()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(taken)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield taken
    finally:
        logger.removeHandler(taken)
        logger.setLevel(level)
        logger.propagate = propagate


# ---------------------------------------------------------------------------- a run


def hold(case: Case) -> Counter[str]:
    """Run the case; what was decided, counted.

    Raises:
        AssertionError: something is not as it is promised.
    """
    with lines() as said, asyncio.Runner() as runner:
        counted = runner.run(asyncio.wait_for(_Run(case).hold(), SLOW_S))
    assert not said.faults, f"log lines that cannot be shown: {said.faults!r}"
    return counted


class _Run:
    def __init__(self, case: Case) -> None:
        self._case = case
        self._expected = {sent.number: expected(sent, case) for sent in case.sent}
        self._endpoints = Endpoints(default=case.default)
        self._kafka = InMemoryKafka(seed=case.seed)
        self._offsets: dict[int, tuple[int, int]] = {}
        self._groupless = "group_id" not in case.config
        self._dead = "t.none.dlq" if self._groupless else "t.g.dlq"

    async def hold(self) -> Counter[str]:
        app, lost = EVKafkaApp(), list[ConsumerLost]()
        app.telemetry.listen(ConsumerLost, lost.append)
        app.add_consumer(self._case.config, self._endpoints.handler)  # type: ignore[arg-type]
        async with self._kafka:
            self._kafka.create_topic(TOPIC, self._case.partitions)
            self._send(self._case.sent[: self._case.early])
            halted = False
            try:
                async with self._kafka.running(app):
                    self._send(self._case.sent[self._case.early :])
                    await self._come_to_rest(app)
            except StopApp:
                halted = True
        assert not lost, f"the consumer was ended by {lost[0].error!r}"
        assert halted == self._may("halts"), f"halted: {halted}"
        for sent in self._case.sent:
            self._judge(sent, halted=halted)
        self._committed(halted=halted)
        return Counter(f"{one.why}: {'/'.join(sorted(one.decisions))}" for one in self._expected.values())

    def _send(self, some: tuple[Sent, ...]) -> None:
        for sent in some:
            tp = self._kafka.topics.choose(TOPIC, None, sent.partition)
            record = self._kafka.append(
                tp, key=sent.key, value=sent.value, headers=sent.all_headers, timestamp_ms=1_700_000_000_000
            )
            self._offsets[sent.number] = (tp.partition, record.offset)
            if sent.unreadable:
                self._kafka.make_unreadable(TOPIC, tp.partition, offset=record.offset)

    async def _come_to_rest(self, app: EVKafkaApp) -> None:
        if self._may("halts"):
            while app.service is not None and app.service.failure is None:
                await self._kafka.advance(ms=200)
        elif self._may("waits"):
            for _ in range(40):
                await self._kafka.advance(ms=500)
        else:
            await self._kafka.settle(max_ms=600_000)
            await self._kafka.advance(ms=2_000)  # at most once, positions behind the last record are committed later

    def _may(self, decision: str) -> bool:
        return any(decision in one.decisions for one in self._expected.values())

    # ------------------------------------------------------------------ what came of it

    def _judge(self, sent: Sent, *, halted: bool) -> None:
        want, number = self._expected[sent.number], sent.number
        letters = self._letters(sent)
        partition, offset = self._offsets[number]
        over = offset < (self._kafka.committed("g", TOPIC, partition) or 0) or self._groupless
        about = f"record {number}: {want}, committed: {over}, letters: {len(letters)}, {self._endpoints.calls[number]}"
        assert "waits" not in want.decisions or not over, about
        assert "halts" not in want.decisions or not over or self._stands_in_a_retry_topic(number), about
        if "buried" not in want.decisions:
            assert not letters, about
        if over and want.decisions == {"buried"} and not self._stands_in_a_retry_topic(number):
            assert letters, about  # whatever else, it is not lost
        if not over:
            return
        if not halted:
            assert len(letters) <= 1, about
        if want.route != "plain" and want.calls is not None and not (halted and self._tried_elsewhere()):
            assert self._endpoints.calls[number] == want.calls, about
        if want.decisions == {"handled"} and want.route != "plain" and not self._stands_in_a_retry_topic(number):
            assert self._endpoints.done[number] >= 1, about
        for letter in letters if not sent.unreadable else ():
            assert (letter.key, letter.value) == (sent.key, sent.value), about
            assert _strangers(letter.headers) == _strangers(sent.all_headers), about

    def _tried_elsewhere(self) -> bool:
        return bool(self._case.config.get("on_error", {}).get("retry_topics"))

    def _stands_in_a_retry_topic(self, number: int) -> bool:
        """And has not been passed there."""
        for delay_ms in self._case.config.get("on_error", {}).get("retry_topics", ()):
            topic = f"t.g.retry.{delay_ms}"
            for record in self._kafka.records(topic) if topic in self._kafka.topics else ():
                passed = self._kafka.committed("g.retry", topic, record.partition) or 0
                if dict(record.headers)[ID] == str(number).encode() and record.offset >= passed:
                    return True
        return False

    def _letters(self, sent: Sent) -> list[Any]:
        if self._dead not in self._kafka.topics:
            return []
        number, (partition, offset) = str(sent.number).encode(), self._offsets[sent.number]
        if not sent.unreadable:
            return [one for one in self._kafka.records(self._dead) if dict(one.headers).get(ID) == number]
        return [one for one in self._kafka.records(self._dead) if _address(one.headers) == (partition, offset)]

    def _committed(self, *, halted: bool) -> None:
        wait = {
            partition: min(
                [offset for number, (own, offset) in self._offsets.items() if own == partition and self._waits(number)],
                default=None,
            )
            for partition in range(self._case.partitions)
        }
        roomy = self._case.config["max_pending_records"] > len(self._case.sent)
        if halted or (self._may("waits") and not roomy):
            return  # what waits has taken all the room there is
        if self._groupless:
            return
        for partition, first in wait.items():
            end = sum(own == partition for own, _ in self._offsets.values())
            committed = self._kafka.committed("g", TOPIC, partition) or 0
            assert committed == (end if first is None else first), f"partition {partition}: {committed} of {end}"

    def _waits(self, number: int) -> bool:
        want: Expected = self._expected[number]
        return "waits" in want.decisions


def _strangers(headers: Headers) -> list[tuple[str, bytes | None]]:
    return [pair for pair in headers if not pair[0].startswith(OURS)]


def _address(headers: Headers) -> tuple[int, int] | None:
    told = dict(headers)
    if ID in told:
        return None
    if (offset := told.get("evkafka-dlq-offset")) is not None:
        return int(told["evkafka-dlq-partition"] or b"-1"), int(offset)
    partition, offset = told.get("kafka_dlt-original-partition"), told.get("kafka_dlt-original-offset")
    if partition is None or offset is None:
        return None
    return int.from_bytes(partition, "big"), int.from_bytes(offset, "big")


def shown(case: Case) -> str:
    """For a failure's note: what each record was expected to become."""
    return json.dumps({sent.number: str(expected(sent, case)) for sent in case.sent}, indent=1)
