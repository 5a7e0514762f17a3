"""The log of failed attempts: the first of a kind whole, repeated ones counted, one line for each record given up."""

from __future__ import annotations

import contextlib
import gc
import logging
import traceback
import weakref
from typing import Any

import pytest

from evkafka import DeadLetter, EVKafkaApp, Handler, Skip
from evkafka.exceptions import StopApp
from evkafka.observe.failure_log import MAX_KINDS, MAX_LINES, WINDOW_S
from evkafka.observe.logs import start_event_log
from evkafka.telemetry import AttemptFailed, ConsumerStopped, OffsetsCommitted, Telemetry
from evkafka.testing import InMemoryKafka
from evkafka.testing.memory.clock import VirtualClock


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def raised_elsewhere(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


class Failures:
    """Emits failed attempts on a virtual clock, and reads the log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.clock = VirtualClock()
        self.telemetry = Telemetry()
        self._caplog = caplog
        caplog.set_level(logging.INFO)
        start_event_log(self.telemetry).use_clock(self.clock.now)
        self._offset = 0

    def fail(
        self,
        error: Exception | None,
        decision: str = "wait",
        *,
        times: int = 1,
        endpoint: str = "shop.on_order",
        consumer: str = "shop",
        **more: str,
    ) -> None:
        for _ in range(times):
            self._offset += 1
            event = AttemptFailed(consumer, "orders", 0, self._offset, "E", endpoint, 1, error, decision, 0.5, **more)
            self.telemetry.emit(event)

    @property
    def lines(self) -> list[str]:
        return self._caplog.messages

    @property
    def tracebacks(self) -> int:
        return sum(record.exc_info is not None for record in self._caplog.records)


@pytest.fixture
def failures(caplog: pytest.LogCaptureFixture) -> Failures:
    return Failures(caplog)


class TestARepeatedFailure:
    def test_is_whole_once_then_ten_lines_then_counted(self, failures: Failures) -> None:
        failures.fail(raised(KeyError("CHF")), times=1000)
        assert len(failures.lines) == 1 + MAX_LINES
        assert failures.tracebacks == 1

    def test_has_its_count_and_is_whole_again_after_a_minute(self, failures: Failures) -> None:
        failures.fail(raised(KeyError("CHF")), times=1000)
        failures.clock.jump(WINDOW_S)
        failures.fail(raised(KeyError("CHF")))
        *_, count, again = failures.lines
        assert count == "shop.on_order failed 989 more times within 60 s: KeyError, last at orders[0]@1000"
        assert again.startswith("shop.on_order failed at orders[0]@1001")
        assert failures.tracebacks == 2

    def test_has_its_count_at_the_next_commit(self, failures: Failures) -> None:
        failures.fail(raised(KeyError("CHF")), times=12)
        failures.clock.jump(WINDOW_S)
        failures.telemetry.emit(OffsetsCommitted("shop", {}))
        assert "failed 1 more times" in failures.lines[-1]

    def test_has_its_count_at_the_end_of_its_consumer(self, failures: Failures) -> None:
        failures.fail(raised(KeyError("CHF")), times=12)
        failures.fail(raised(KeyError("CHF")), times=12, consumer="other")
        failures.telemetry.emit(ConsumerStopped("shop", None))
        assert [line for line in failures.lines if "more times" in line] == [
            "shop.on_order failed 1 more times within 60 s: KeyError, last at orders[0]@12"
        ]

    def test_is_a_line_each_at_debug(self, failures: Failures, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "evkafka.events")
        failures.fail(raised(KeyError("CHF")), times=100)
        assert len(failures.lines) == 100

    def test_that_the_endpoint_asks_for_is_counted_too(self, failures: Failures) -> None:
        failures.fail(None, times=100)
        assert len(failures.lines) == 1 + MAX_LINES

    def test_keeps_no_error_in_memory(self, failures: Failures) -> None:
        class Large(Exception):
            pass

        failures.fail(raised(Large()), times=1 + MAX_LINES)
        error = raised(Large())
        failures.fail(error)
        alive = weakref.ref(error)
        del error
        gc.collect()
        assert alive() is None


class TestARecordThatIsGivenUp:
    @pytest.mark.parametrize("decision", ["dead_letter", "finish"])
    def test_has_a_line_without_a_traceback(self, failures: Failures, decision: str) -> None:
        failures.fail(raised(KeyError("CHF")), decision, times=1000)
        assert len(failures.lines) == 1000
        assert failures.tracebacks == 1

    @pytest.mark.parametrize("decision", ["stop", "dead_letter_limit"])
    def test_that_stops_the_app_is_whole(self, failures: Failures, decision: str) -> None:
        failures.fail(raised(KeyError("CHF")), times=100)
        failures.fail(raised(KeyError("CHF")), decision)
        assert failures.tracebacks == 2


class TestAnOutcome:
    def test_has_the_reason_that_the_endpoint_gives(self, failures: Failures) -> None:
        failures.fail(None, "dead_letter", outcome="DeadLetter", reason="no such\ncustomer")
        [line] = failures.lines
        assert line.startswith("shop.on_order failed at orders[0]@1, attempt 1; writing it to the dead-letter topic: ")
        assert line.endswith(": DeadLetter requested: no such\\ncustomer")

    def test_without_a_reason_is_named_alone(self, failures: Failures) -> None:
        failures.fail(None, outcome="Retry")
        assert failures.lines == [
            "shop.on_order failed at orders[0]@1, attempt 1; trying again in 0.5 s: Retry requested"
        ]

    def test_has_the_error_that_it_was_raised_from_too(self, failures: Failures) -> None:
        outcome = DeadLetter("no such customer")
        outcome.__cause__ = KeyError("A-1")
        failures.fail(raised(outcome), "dead_letter", outcome="DeadLetter", reason="no such customer")
        assert failures.lines[0].endswith(": DeadLetter requested: no such customer: KeyError('A-1')")

    def test_of_a_record_that_no_endpoint_takes_blames_no_endpoint(self, failures: Failures) -> None:
        failures.fail(None, "dead_letter", endpoint="", outcome="Unmatched", reason="no_type")
        assert failures.lines == ["no endpoint handles orders[0]@1 (no_type); writing it to the dead-letter topic"]


async def run_app(handler: Handler, **keys: Any) -> None:
    """Handle one record."""
    app = EVKafkaApp()
    policy: Any = {"max_attempts": 1, "then": "skip"}
    app.add_consumer({"topics": ["orders"], "group_id": "g", "on_error": policy, **keys}, handler, name="orders")
    async with InMemoryKafka() as kafka:
        with contextlib.suppress(StopApp):
            async with kafka.running(app):
                await kafka.send("orders", {"id": 1}, event_type="E")
                await kafka.settle()


class TestARequestedDeadLetter:
    @pytest.mark.parametrize("batch", [False, True])
    async def test_is_logged_with_its_reason(self, caplog: pytest.LogCaptureFixture, batch: bool) -> None:
        handler = Handler()

        async def on_order(event: dict[str, Any]) -> DeadLetter:
            return DeadLetter("no such customer")

        async def on_orders(events: list[dict[str, Any]]) -> DeadLetter:
            return DeadLetter("no such customer")

        handler.event("E", batch=True)(on_orders) if batch else handler.event("E")(on_order)
        await run_app(handler)
        [record] = [one for one in caplog.records if "DeadLetter requested: no such customer" in one.getMessage()]
        assert record.exc_info is None

    async def test_of_a_record_without_an_endpoint_blames_none(self, caplog: pytest.LogCaptureFixture) -> None:
        await run_app(Handler(), unmatched="dead_letter")
        assert "no endpoint handles orders[0]@0 (no_endpoint); writing it to the dead-letter topic" in caplog.messages


class TestTheTraceback:
    @pytest.mark.parametrize("threaded", [False, True])
    async def test_begins_in_the_code_of_the_app(self, caplog: pytest.LogCaptureFixture, threaded: bool) -> None:
        handler = Handler()

        def plain(event: dict[str, Any]) -> None:
            raise ValueError("no customer")

        async def awaited(event: dict[str, Any]) -> None:
            raise ValueError("no customer")

        handler.event("E")(plain if threaded else awaited)
        await run_app(handler)
        [record] = [one for one in caplog.records if one.exc_info]
        assert record.exc_info is not None
        frames = traceback.extract_tb(record.exc_info[2])
        assert [frame.name for frame in frames] == ["plain" if threaded else "awaited"]

    @pytest.mark.parametrize("batch", [False, True])
    async def test_of_a_record_that_cannot_be_decoded_is_left_out(
        self, caplog: pytest.LogCaptureFixture, batch: bool
    ) -> None:
        handler = Handler()

        async def on_order(event: dict[str, str]) -> None: ...

        async def on_orders(events: list[dict[str, str]]) -> None: ...

        handler.event("E", batch=True)(on_orders) if batch else handler.event("E")(on_order)
        await run_app(handler)
        [record] = [one for one in caplog.records if "is not the" in one.getMessage()]
        assert "id" in record.getMessage()
        assert record.exc_info is None

    async def test_of_a_record_that_stops_the_app_is_printed_once(self, caplog: pytest.LogCaptureFixture) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_order(event: dict[str, Any]) -> None:
            raise ValueError("no customer")

        await run_app(handler, on_error={"max_attempts": 1, "then": "stop"})
        assert "has ended: orders[0]@0 stops the app: attempt 1 of 1 failed" in caplog.text
        [record] = [one for one in caplog.records if one.exc_info]
        assert "on_order failed at orders[0]@0" in record.getMessage()

    async def test_of_an_error_that_is_no_failure_of_a_record_is_printed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler = Handler()

        @handler.event("E")
        async def on_order(event: dict[str, Any]) -> None:
            raise MemoryError

        await run_app(handler)
        [record] = [one for one in caplog.records if one.exc_info]
        assert record.exc_info is not None
        assert record.exc_info[0] is MemoryError


class TestASkip:
    @pytest.mark.parametrize("batch", [False, True])
    @pytest.mark.parametrize("raised", [False, True])
    async def test_is_logged_at_debug_with_its_reason(
        self, caplog: pytest.LogCaptureFixture, raised: bool, batch: bool
    ) -> None:
        caplog.set_level(logging.DEBUG, "evkafka.events")
        handler = Handler()

        async def on_order(event: dict[str, Any]) -> Skip:
            if raised:
                raise Skip("a test order")
            return Skip("a test order")

        async def on_orders(events: list[dict[str, Any]]) -> Skip:
            return await on_order({})

        handler.event("E", batch=True)(on_orders) if batch else handler.event("E")(on_order)
        await run_app(handler)
        assert [line for line in caplog.messages if " skips orders[0]@0: a test order" in line]

    async def test_without_a_reason_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "evkafka.events")
        handler = Handler()

        @handler.event("E")
        async def on_order(event: dict[str, Any]) -> type[Skip]:
            return Skip

        await run_app(handler)
        assert not [line for line in caplog.messages if "skips" in line]


class TestKinds:
    def test_differ_by_endpoint_error_and_line_of_code(self, failures: Failures) -> None:
        failures.fail(raised(KeyError("CHF")))
        failures.fail(raised(KeyError("CHF")), endpoint="shop.on_refund")
        failures.fail(raised(ValueError("CHF")))
        failures.fail(raised_elsewhere(KeyError("CHF")))
        assert failures.tracebacks == 4

    def test_do_not_differ_by_the_text_of_the_error(self, failures: Failures) -> None:
        for number in range(1000):
            failures.fail(raised(KeyError(f"customer {number}")))
        assert failures.tracebacks == 1

    def test_beyond_the_limit_count_as_one(self, failures: Failures) -> None:
        for number in range(10 * MAX_KINDS):
            failures.fail(raised(KeyError("CHF")), endpoint=f"shop.on_{number}")
        assert failures.tracebacks == MAX_KINDS + 1
        assert len(failures.lines) == MAX_KINDS + 1 + MAX_LINES
        failures.telemetry.emit(ConsumerStopped("shop", None))
        assert "endpoints failed 2293 more times within 60 s: many kinds of errors" in "".join(failures.lines)


async def test_a_thousand_failing_keys_write_one_traceback_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()

    @handler.event("OrderPlaced")
    async def on_order(event: dict[str, Any]) -> None:
        raise ValueError(f"no customer {event['id']}")

    app = EVKafkaApp()
    config: Any = {
        "topics": ["orders"],
        "group_id": "g",
        "concurrency": 1000,
        "ordering": "key",
        "on_error": {"max_attempts": 5, "backoff_ms": 10_000, "backoff_multiplier": 1.0, "jitter": 0, "then": "skip"},
    }
    app.add_consumer(config, handler, name="orders")
    caplog.set_level(logging.INFO)
    async with InMemoryKafka() as kafka, kafka.running(app):
        for number in range(1000):
            await kafka.send("orders", {"id": number}, event_type="OrderPlaced", key=str(number))
        await kafka.settle()
    failed = [record for record in caplog.records if "on_order failed" in record.getMessage()]
    assert sum(record.exc_info is not None for record in failed) == 1
    assert sum("skipping it" in record.getMessage() for record in failed) == 1000
    [count] = [record for record in failed if "more times" in record.getMessage()]
    assert vars(count)["failures"] == 4000 - 1 - MAX_LINES
