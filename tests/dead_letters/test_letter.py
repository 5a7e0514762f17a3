"""What a dead letter's headers say, in either style."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from evkafka.runtime.letter import SHORTER, Headers, Story, headers_of
from evkafka.settings import ErrorPolicySettings

EVKAFKA = ErrorPolicySettings()
SPRING = ErrorPolicySettings(dead_letter_header_style="spring")


@dataclass(frozen=True)
class Rec:
    topic: str = "orders"
    partition: int = 2
    offset: int = 41
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


def story(**changes: object) -> Story:
    told: dict[str, object] = {
        "group_id": "billing",
        "event_type": "OrderPlaced",
        "attempts": 3,
        "reason": "attempt 3 of 3 failed",
        "error": ValueError("no such order"),
        "failed_at": datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
    }
    return Story(**{**told, **changes})  # type: ignore[arg-type]


def only(headers: Headers, prefix: str) -> dict[str, bytes | None]:
    return {name.removeprefix(prefix): value for name, value in headers if name.startswith(prefix)}


class TestOurStyle:
    def test_tells_where_it_came_from_and_why(self) -> None:
        said = only(headers_of(Rec(), story(), EVKAFKA), "evkafka-dlq-")
        traceback = said.pop("error-traceback")
        assert said == {
            "topic": b"orders",
            "partition": b"2",
            "offset": b"41",
            "timestamp": b"1700000000000",
            "group": b"billing",
            "event-type": b"OrderPlaced",
            "attempts": b"3",
            "error-type": b"builtins.ValueError",
            "error-message": b"no such order",
            "failed-at": b"2026-11-23T12:00:00Z",
            "id": b"billing/orders/2/41",
        }
        assert traceback is not None
        assert traceback.endswith(b"ValueError: no such order\n")

    def test_without_an_error_the_reason_is_the_message(self) -> None:
        said = only(headers_of(Rec(), story(error=None, event_type=None), EVKAFKA), "evkafka-dlq-")
        assert (said["error-type"], said["error-message"], said["error-traceback"]) == (
            b"",
            b"attempt 3 of 3 failed",
            b"",
        )
        assert said["event-type"] == b""

    def test_the_records_own_headers_come_first_and_byte_for_byte(self) -> None:
        own = [("x", b"\xff"), ("x", None), ("Event-Type", b"OrderPlaced"), ("", b"")]
        assert headers_of(Rec(headers=own), story(), EVKAFKA)[:4] == own

    def test_a_first_failures_origin_survives_a_second(self) -> None:
        first = headers_of(Rec(headers=[("x", b"1")]), story(), EVKAFKA)
        again = Rec(topic="orders.billing.dlq", partition=0, offset=7, headers=first)
        second = headers_of(again, story(group_id="other", attempts=1, error=KeyError("k")), EVKAFKA)
        said = only(second, "evkafka-dlq-")
        assert [said[name] for name in ("topic", "partition", "offset", "group", "id")] == [
            b"orders",
            b"2",
            b"41",
            b"billing",
            b"billing/orders/2/41",
        ]
        assert (said["attempts"], said["error-type"]) == (b"1", b"builtins.KeyError")
        assert len(second) == len(first)


class TestSpringStyle:
    def test_is_what_springs_own_tools_read(self) -> None:
        headers = headers_of(Rec(), story(), SPRING)
        said = only(headers, "kafka_dlt-")
        assert said["original-topic"] == b"orders"
        assert said["original-partition"] == struct.pack(">i", 2)
        assert said["original-offset"] == struct.pack(">q", 41)
        assert said["original-timestamp"] == struct.pack(">q", 1_700_000_000_000)
        assert said["original-consumer-group"] == b"billing"
        assert said["exception-fqcn"] == b"builtins.ValueError"
        assert said["exception-message"] == b"no such order"
        assert only(headers, "evkafka-dlq-")["id"] == b"billing/orders/2/41"

    def test_a_first_failures_origin_survives_a_second(self) -> None:
        first = headers_of(Rec(), story(), SPRING)
        said = only(headers_of(Rec(topic="t", partition=0, offset=0, headers=first), story(), SPRING), "kafka_dlt-")
        assert (said["original-topic"], said["original-offset"]) == (b"orders", struct.pack(">q", 41))


class TestLength:
    def test_of_a_traceback_ends_at_8_kib_and_keeps_its_end(self) -> None:
        said = only(headers_of(Rec(), story(error=ValueError("é" * 20_000)), EVKAFKA), "evkafka-dlq-")
        assert said["error-traceback"] is not None
        assert len(said["error-traceback"]) <= 8 * 1024
        said["error-traceback"].decode()  # no character is cut in two

    @pytest.mark.parametrize("policy", [EVKAFKA, SPRING])
    def test_becomes_less_with_each_step_and_the_record_stays(self, policy: ErrorPolicySettings) -> None:
        own: list[tuple[str, bytes | None]] = [("x", bytes(100))]
        sizes = []
        for shorter in range(len(SHORTER) + 1):
            headers = headers_of(Rec(headers=own), story(error=ValueError("x" * 20_000)), policy, shorter=shorter)
            assert headers[0] == own[0]
            sizes.append(sum(len(value or b"") for _, value in headers))
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] < 1000
