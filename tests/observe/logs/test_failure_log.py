"""The log of failed attempts: the first of a kind whole, repeated ones counted, one line for each record given up."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.observe.failure_log import MAX_KINDS, MAX_LINES, WINDOW_S
from evkafka.observe.logs import log_events
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
        log_events(self.telemetry).use_clock(self.clock.now)
        self._offset = 0

    def fail(
        self,
        error: Exception | None,
        decision: str = "wait",
        *,
        times: int = 1,
        endpoint: str = "shop.on_order",
        consumer: str = "shop",
    ) -> None:
        for _ in range(times):
            self._offset += 1
            event = AttemptFailed(consumer, "orders", 0, self._offset, "E", endpoint, 1, error, decision, 0.5)
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

    def test_that_stops_the_app_is_whole(self, failures: Failures) -> None:
        failures.fail(raised(KeyError("CHF")), times=100)
        failures.fail(raised(KeyError("CHF")), "stop")
        assert failures.tracebacks == 2


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
