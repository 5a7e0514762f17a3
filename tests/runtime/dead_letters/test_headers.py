"""The headers of a dead letter, in both styles."""

from __future__ import annotations

import struct

import pytest

from evkafka.config.settings import ErrorPolicySettings
from evkafka.dlq.dead_letter import read_dead_letter, replayed_headers
from evkafka.runtime.dead_letters.headers import (
    REDUCED_BYTES,
    Headers,
    TopicIncarnation,
    build_dead_letter_id_from_address,
    dead_letter_headers,
)
from evkafka.runtime.dead_letters.replay_signature import sign_replay
from tests.support.dead_letters import FORGED, ID, Source, failure
from tests.support.tracebacks import error_through

EVKAFKA = ErrorPolicySettings()
SPRING = ErrorPolicySettings(dead_letter_header_style="spring")


def only(headers: Headers, prefix: str) -> dict[str, bytes | None]:
    return {name.removeprefix(prefix): value for name, value in headers if name.startswith(prefix)}


class TestOurStyle:
    def test_has_the_origin_and_the_error(self) -> None:
        said = only(dead_letter_headers(Source(), failure(), EVKAFKA, id_=ID), "evkafka-dlq-")
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

    def test_its_traceback_begins_in_the_code_of_the_app(self) -> None:
        def on_order() -> None:
            raise ValueError("no such order")

        failed = failure(error=error_through("evkafka", on_order))
        said = only(dead_letter_headers(Source(), failed, EVKAFKA, id_=ID), "evkafka-dlq-")
        assert said["error-traceback"] is not None
        assert b"on_order" in said["error-traceback"]
        assert b"evkafka.py" not in said["error-traceback"]

    def test_without_an_error_the_reason_is_the_message(self) -> None:
        said = only(
            dead_letter_headers(Source(), failure(error=None, event_type=None), EVKAFKA, id_=ID), "evkafka-dlq-"
        )
        assert (said["error-type"], said["error-message"], said["error-traceback"]) == (
            b"",
            b"attempt 3 of 3 failed",
            b"",
        )
        assert said["event-type"] == b""

    def test_the_records_own_headers_come_first_and_byte_for_byte(self) -> None:
        own = [("x", b"\xff"), ("x", None), ("Event-Type", b"OrderPlaced"), ("", b"")]
        assert dead_letter_headers(Source(headers=own), failure(), EVKAFKA, id_=ID)[:4] == own


class TestSpringStyle:
    def test_is_what_springs_own_tools_read(self) -> None:
        headers = dead_letter_headers(Source(), failure(), SPRING, id_=ID)
        said = only(headers, "kafka_dlt-")
        assert said["original-topic"] == b"orders"
        assert said["original-partition"] == struct.pack(">i", 2)
        assert said["original-offset"] == struct.pack(">q", 41)
        assert said["original-timestamp"] == struct.pack(">q", 1_700_000_000_000)
        assert said["original-consumer-group"] == b"billing"
        assert said["exception-fqcn"] == b"builtins.ValueError"
        assert said["exception-message"] == b"no such order"
        assert only(headers, "evkafka-dlq-")["id"] == b"billing/orders/2/41"


@pytest.mark.parametrize("policy", [EVKAFKA, SPRING])
class TestDeadLetterHeadersOfASourceRecord:
    def test_are_not_trusted(self, policy: ErrorPolicySettings) -> None:
        letter = read_dead_letter(
            Source("dead", 0, 5, headers=dead_letter_headers(Source(headers=FORGED), failure(), policy, id_=ID))
        )
        assert (letter.topic, letter.partition, letter.offset, letter.group) == ("orders", 2, 41, "billing")
        assert (letter.id, letter.replays, letter.unreadable) == (ID, 0, False)

    def test_are_renamed_with_all_values(self, policy: ErrorPolicySettings) -> None:
        headers = dead_letter_headers(Source(headers=[("x", b"1"), *FORGED]), failure(), policy, id_=ID)
        own = [*FORGED[:-1], *(FORGED[-1:] if policy is SPRING else ())]
        assert only(headers, "evkafka-source-") == dict(own)
        assert headers[0] == ("x", b"1")

    def test_names_occur_once_in_a_dead_letter(self, policy: ErrorPolicySettings) -> None:
        names = [name for name, _ in dead_letter_headers(Source(headers=FORGED), failure(), policy, id_=ID)]
        assert [name for name in names if name == "evkafka-dlq-id"] == ["evkafka-dlq-id"]
        assert names.count("kafka_dlt-original-topic") == 1

    def test_are_renamed_in_a_record_of_another_dead_letter_topic(self, policy: ErrorPolicySettings) -> None:
        first = dead_letter_headers(Source(), failure(group_id="another"), policy, id_="another/orders/2/41")
        letter = read_dead_letter(
            Source(
                "d",
                0,
                0,
                headers=dead_letter_headers(Source("another.dlq", 0, 7, headers=first), failure(), policy, id_=ID),
            )
        )
        assert (letter.topic, letter.offset, letter.group, letter.id) == ("another.dlq", 7, "billing", ID)


@pytest.mark.parametrize("second", [EVKAFKA, SPRING])
@pytest.mark.parametrize("first", [EVKAFKA, SPRING])
class TestHeadersOfAReplay:
    """In both styles, also if the policy's style has changed since."""

    def test_are_kept_as_the_origin_of_the_next_dead_letter(
        self, first: ErrorPolicySettings, second: ErrorPolicySettings
    ) -> None:
        letter = read_dead_letter(Source("dead", 0, 5, headers=dead_letter_headers(Source(), failure(), first, id_=ID)))
        back = Source("orders", 2, 900, timestamp=1, headers=[("x", b"1"), *replayed_headers(letter)])
        headers = dead_letter_headers(back, failure(attempts=1), second, id_="another", replayed=True)
        again = read_dead_letter(Source("dead", 0, 6, headers=headers))
        assert (again.topic, again.partition, again.offset, again.group) == ("orders", 2, 41, "billing")
        assert (again.id, again.timestamp_ms, again.replays) == (ID, 1_700_000_000_000, 1)
        assert headers[0] == ("x", b"1")
        assert only(headers, "evkafka-source-") == {}
        assert "evkafka-dlq-signature" not in dict(headers)


class TestAnId:
    @pytest.mark.parametrize(
        ("incarnation", "id_"),
        [
            (TopicIncarnation("cluster", "topic-id"), "billing/cluster/orders:topic-id/2/41"),
            (TopicIncarnation("cluster", None), "billing/cluster/orders/2/41"),
            (TopicIncarnation(), "billing/orders/2/41"),
        ],
    )
    def test_contains_group_cluster_topic_with_its_id_partition_and_offset(
        self, incarnation: TopicIncarnation, id_: str
    ) -> None:
        assert build_dead_letter_id_from_address("billing", Source(), incarnation) == id_


HEADERS: Headers = [("x", b"1"), ("evkafka-dlq-topic", b"orders"), ("evkafka-dlq-replays", b"1")]


class TestASignature:
    def signed(self, **changes: object) -> bytes:
        parts = {"key": b"k", "value": b"v", "headers": HEADERS, "topic": "orders", "by": b"secret", **changes}
        return sign_replay(parts["by"], parts["topic"], parts["key"], parts["value"], parts["headers"])  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "changes",
        [
            {"key": None},
            {"key": b"kv", "value": b""},
            {"value": None},
            {"topic": "payments"},
            {"by": b"another"},
            {"headers": [("evkafka-dlq-topic", b"payments"), ("evkafka-dlq-replays", b"1")]},
            {"headers": [("evkafka-dlq-topic", b"orders")]},
            {"headers": [*HEADERS, ("evkafka-dlq-id", b"forged")]},
        ],
    )
    def test_differs_for_any_other_record(self, changes: dict[str, object]) -> None:
        assert self.signed(**changes) != self.signed()

    def test_covers_only_topic_key_value_and_dead_letter_headers(self) -> None:
        assert self.signed(headers=[*reversed(HEADERS), ("traceparent", b"00-1")]) == self.signed()


class TestLength:
    def test_a_traceback_is_cut_to_its_last_8_kib(self) -> None:
        said = only(
            dead_letter_headers(Source(), failure(error=ValueError("é" * 20_000)), EVKAFKA, id_=ID), "evkafka-dlq-"
        )
        assert said["error-traceback"] is not None
        assert len(said["error-traceback"]) <= 8 * 1024
        said["error-traceback"].decode()  # no character is cut in two

    @pytest.mark.parametrize("policy", [EVKAFKA, SPRING])
    def test_each_reduction_shortens_the_failure_and_keeps_the_record(self, policy: ErrorPolicySettings) -> None:
        own: list[tuple[str, bytes | None]] = [("x", bytes(100))]
        sizes = []
        for reduced in range(len(REDUCED_BYTES) + 1):
            headers = dead_letter_headers(
                Source(headers=own), failure(error=ValueError("x" * 20_000)), policy, id_=ID, reduced=reduced
            )
            assert headers[0] == own[0]
            sizes.append(sum(len(value or b"") for _, value in headers))
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] < 1000
