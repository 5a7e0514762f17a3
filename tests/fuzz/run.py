"""Runs a case on the in-memory Kafka, and compares the outcomes with the expected ones."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evkafka import BatchError, DeadLetter, EVKafkaApp, Handler, Request, Retry, Skip
from evkafka.exceptions import StopApp
from evkafka.observe.log_format import JsonFormatter
from evkafka.telemetry import ConsumerLost
from evkafka.testing import InMemoryKafka
from tests.fuzz.expected import Expected, Order, expected
from tests.fuzz.inputs import ID, Case, Headers, Sent

TOPIC = "t"
OURS = ("evkafka-", "kafka_dlt-")
TIMEOUT_S = 60
"""The most real time that a case may take; usually it takes milliseconds."""


class Unprintable(Exception):
    """An error whose `str` and `repr` raise."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Uncomparable:
    """A result whose `==` and `bool` raise."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __bool__ = __repr__ = __str__ = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class Endpoints:
    """Attributes:
    calls: record -> the number of calls of an endpoint with it, except of `plain`, which does not know its record.
    done: record -> the number of successful calls.
    plain: the number of calls of `plain`.
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
                    failed[index] = error if isinstance(error, Exception) else ValueError("cancelled")
                else:
                    if isinstance(result, Skip | DeadLetter | Retry):
                        failed[index] = result
            if failed:
                raise BatchError(failed)

        if default:

            @handler.default()
            async def on_any(value: bytes, request: Request) -> object:
                return await self._do("ok", request)

    async def _do(self, action: str, request: Request) -> object:
        number = int(request.headers[ID])
        self.calls[number] += 1
        result = await self._act(action, first=self.calls[number] == 1)
        self.done[number] += 1
        return result

    async def _act(self, action: str, *, first: bool) -> object:
        await asyncio.sleep(0)
        match action:
            case "skip":
                return Skip("requested by the record")
            case "dead letter":
                return DeadLetter("requested by the record")
            case "retry":
                return Retry(after_ms=3)
            case "uncomparable":
                return Uncomparable()
            case "fails once" if first:
                raise ValueError("in the first attempt")
            case "fails":
                raise ValueError("always \ud800")
            case "non-retryable":
                raise LookupError("requested by the record")
            case "unprintable":
                raise Unprintable
            case "cancelled":
                raise asyncio.CancelledError
        return None


class FormattedLog(logging.Handler):
    """Formats each log record as text and as JSON; collects the errors."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []
        self._formatters = (logging.Formatter(), JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        for formatter in self._formatters:
            try:
                formatter.format(record)
            except Exception as error:  # any error here is a defect
                self.errors.append(error)


@contextmanager
def formatted_log() -> Iterator[FormattedLog]:
    logger, log = logging.getLogger("evkafka"), FormattedLog()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield log
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)
        logger.propagate = propagate


# ---------------------------------------------------------------------------- a run


def check_case(case: Case) -> Counter[str]:
    """Run the case; return the number of records by expected outcome.

    Raises:
        AssertionError: an outcome is not the expected one.
    """
    with formatted_log() as log, asyncio.Runner() as runner:
        counted = runner.run(asyncio.wait_for(_Run(case).check(), TIMEOUT_S))
    assert not log.errors, f"log records that cannot be formatted: {log.errors!r}"
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

    async def check(self) -> Counter[str]:
        app, lost = EVKafkaApp(), list[ConsumerLost]()
        app.telemetry.listen(ConsumerLost, lost.append)
        app.add_consumer(self._case.config, self._endpoints.handler)  # type: ignore[arg-type]
        async with self._kafka:
            self._kafka.create_topic(TOPIC, self._case.partitions)
            self._send(self._case.sent[: self._case.early])
            stopped = False
            try:
                async with self._kafka.running(app):
                    self._send(self._case.sent[self._case.early :])
                    await self._wait_until_idle(app)
            except StopApp:
                stopped = True
        assert not lost, f"the consumer was ended by {lost[0].error!r}"
        assert stopped == self._may_be("stopped"), f"stopped: {stopped}"
        for sent in self._case.sent:
            self._check_record(sent, stopped=stopped)
        self._check_commits(stopped=stopped)
        return Counter(f"{one.why}: {'/'.join(sorted(one.decisions))}" for one in self._expected.values())

    def _send(self, some: tuple[Sent, ...]) -> None:
        for sent in some:
            tp = self._kafka.topics.choose_partition(TOPIC, None, sent.partition)
            record = self._kafka.append_record(
                tp, key=sent.key, value=sent.value, headers=sent.all_headers, timestamp_ms=1_700_000_000_000
            )
            self._offsets[sent.number] = (tp.partition, record.offset)
            if sent.corrupt:
                self._kafka.make_unreadable(TOPIC, tp.partition, offset=record.offset)

    async def _wait_until_idle(self, app: EVKafkaApp) -> None:
        if self._may_be("stopped"):
            while app.service is not None and app.service.failure is None:
                await self._kafka.advance(ms=200)
        elif self._may_be("blocked"):
            for _ in range(40):
                await self._kafka.advance(ms=500)
        else:
            await self._kafka.settle(max_ms=600_000)
            await self._kafka.advance(ms=2_000)  # at most once, the position after the last record is committed later

    def _may_be(self, decision: str) -> bool:
        return any(decision in one.decisions for one in self._expected.values())

    # ------------------------------------------------------------------ outcomes

    def _check_record(self, sent: Sent, *, stopped: bool) -> None:
        want, number = self._expected[sent.number], sent.number
        dead_letters = self._dead_letters(sent)
        partition, offset = self._offsets[number]
        committed = offset < (self._kafka.committed("g", TOPIC, partition) or 0) or self._groupless
        calls = self._endpoints.calls[number]
        about = f"record {number}: {want}, committed: {committed}, dead letters: {len(dead_letters)}, calls: {calls}"
        assert "blocked" not in want.decisions or not committed, about
        assert "stopped" not in want.decisions or not committed or self._is_in_a_retry_topic(number), about
        if "dead_lettered" not in want.decisions:
            assert not dead_letters, about
        if committed and want.decisions == {"dead_lettered"} and not self._is_in_a_retry_topic(number):
            assert dead_letters, about  # in any case it is not lost
        if not committed:
            return
        if not stopped:
            assert len(dead_letters) <= 1, about
        if want.route != "plain" and want.calls is not None and not (stopped and self._has_retry_topics()):
            assert self._endpoints.calls[number] == want.calls, about
        if want.decisions == {"handled"} and want.route != "plain" and not self._is_in_a_retry_topic(number):
            assert self._endpoints.done[number] >= 1, about
        for dead_letter in dead_letters if not sent.corrupt else ():
            assert (dead_letter.key, dead_letter.value) == (sent.key, sent.value), about
            assert _senders_headers(dead_letter.headers) == _senders_headers(sent.all_headers), about

    def _has_retry_topics(self) -> bool:
        return bool(self._case.config.get("on_error", {}).get("retry_topics"))

    def _is_in_a_retry_topic(self, number: int) -> bool:
        """Return True if the record is in a retry topic and not committed there."""
        for delay_ms in self._case.config.get("on_error", {}).get("retry_topics", ()):
            topic = f"t.g.retry.{delay_ms}"
            for record in self._kafka.records(topic) if topic in self._kafka.topics else ():
                retried = self._kafka.committed("g.retry", topic, record.partition) or 0
                if dict(record.headers)[ID] == str(number).encode() and record.offset >= retried:
                    return True
        return False

    def _dead_letters(self, sent: Sent) -> list[Any]:
        if self._dead not in self._kafka.topics:
            return []
        number, (partition, offset) = str(sent.number).encode(), self._offsets[sent.number]
        if not sent.corrupt:
            return [one for one in self._kafka.records(self._dead) if dict(one.headers).get(ID) == number]
        return [one for one in self._kafka.records(self._dead) if _address(one.headers) == (partition, offset)]

    def _check_commits(self, *, stopped: bool) -> None:
        first_blocked = {
            partition: min(
                [
                    offset
                    for number, (own, offset) in self._offsets.items()
                    if own == partition and self._is_blocked(number)
                ],
                default=None,
            )
            for partition in range(self._case.partitions)
        }
        has_room = self._case.config["max_pending_records"] > len(self._case.sent)
        if stopped or (self._may_be("blocked") and not has_room):
            return  # blocked records fill the pending records
        if self._groupless:
            return
        for partition, first in first_blocked.items():
            end = sum(own == partition for own, _ in self._offsets.values())
            committed = self._kafka.committed("g", TOPIC, partition) or 0
            assert committed == (end if first is None else first), f"partition {partition}: {committed} of {end}"

    def _is_blocked(self, number: int) -> bool:
        want: Expected = self._expected[number]
        return "blocked" in want.decisions


def _senders_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    return [pair for pair in headers if not pair[0].startswith(OURS)]


def _address(headers: Headers) -> tuple[int, int] | None:
    names = dict(headers)
    if ID in names:
        return None
    if (offset := names.get("evkafka-dlq-offset")) is not None:
        return int(names["evkafka-dlq-partition"] or b"-1"), int(offset)
    partition, offset = names.get("kafka_dlt-original-partition"), names.get("kafka_dlt-original-offset")
    if partition is None or offset is None:
        return None
    return int.from_bytes(partition, "big"), int.from_bytes(offset, "big")


def shown(case: Case) -> str:
    """Return the expected outcome of each record, for the note of a failure."""
    return json.dumps({sent.number: str(expected(sent, case)) for sent in case.sent}, indent=1)
