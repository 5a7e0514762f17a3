"""What the operations page is made of: counting, and bytes as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.runtime.status import PartitionStatus
from evkafka.telemetry import AttemptFailed, RecordsProcessed, Telemetry
from evkafka.ui.payload_text import as_text, headers_as_text
from evkafka.ui.statistics import ERROR_GROUPS_MAX, HISTORY_S, Statistics
from evkafka.ui.status_text import partition_state
from evkafka.ui.stream import SnapshotStream
from tests.support.odd_records import HOSTILE
from tests.support.unsafe_text import acted_on

SECRET_NAMES = (
    *(
        "password",
        "passwd",
        "pwd",
        "PWD",
        "userPwd",
        "password_hash",
        "passwordHash",
        "db.password",
        "pass",
        "passphrase",
    ),
    *(
        "Cookie",
        "Set-Cookie",
        "cookie_jar",
        "Authorization",
        "Proxy-Authorization",
        "X-Auth",
        "auth_key",
        "X-Auth-Token",
    ),
    *("secret", "client_secret", "clientSecret", "SECRET_KEY", "token", "accessToken", "refresh-token", "csrfToken"),
    *("apiKey", "API-Key", "X-Api-Key", "api_key", "APIKey", "privateKey", "accessKey", "signing_key", "session_id"),
    *("sessionId", "jwt", "bearer", "otp", "pin", "cardPin", "pin_code", "credentials", "card_number", "cardNo", "pan"),
    *("cvv", "cvc2", "iban", "IBAN", "ssn", "social_security_number", "connectionString", "dsn"),
)
PLAIN_NAMES = (
    *("passenger", "compass", "bypass", "author", "authority", "company", "panel", "spanned", "opinion", "shipping"),
    *(
        "key",
        "keyboard",
        "monkey",
        "card",
        "cards",
        "number",
        "session",
        "id",
        "Event-Type",
        "order_id",
        "name",
        "value",
    ),
)


class Clock:
    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(telemetry: Telemetry, clock: Clock) -> Statistics:
    return Statistics(telemetry, now=clock)


def processed(status: str = "ok", number: int = 1, event_type: str = "X") -> RecordsProcessed:
    return RecordsProcessed("shop", "t", {(event_type, status): [0.01] * number})  # type: ignore[dict-item]


def failed(error: BaseException, offset: int = 0, endpoint: str = "shop.on_order") -> AttemptFailed:
    return AttemptFailed("shop", "t", 0, offset, "X", endpoint, 1, error, "wait", 1.0)


class TestBook:
    def test_counts_per_second_over_the_last_five_whole_ones(
        self, statistics: Statistics, telemetry: Telemetry, clock: Clock
    ) -> None:
        for _ in range(5):
            telemetry.emit(processed(number=100))
            telemetry.emit(processed("retried", number=10))
            clock.s += 1
        assert statistics.rates() == (100.0, 10.0)
        clock.s += 60
        assert statistics.rates() == (0.0, 0.0)
        assert (statistics.handled, statistics.failed) == (500, 50)

    def test_the_history_has_a_place_for_every_second_also_for_those_without_news(
        self, statistics: Statistics, telemetry: Telemetry, clock: Clock
    ) -> None:
        telemetry.emit(processed(number=7))
        statistics.record_lag(42)
        clock.s += 10
        history = statistics.history()
        assert [len(values) for values in history.values()] == [HISTORY_S] * 6  # type: ignore[arg-type]
        assert history["handled_per_s"][-10] == 7
        assert history["lag"][-10] == 42
        assert history["p50_s"][-10] == pytest.approx(0.01)
        assert sum(history["handled_per_s"]) == 7
        assert history["p50_s"][-1] is None

    def test_errors_of_one_kind_are_one_group_with_their_last_addresses(
        self, statistics: Statistics, telemetry: Telemetry, clock: Clock
    ) -> None:
        for offset in range(10):
            telemetry.emit(failed(ValueError(f"no {offset}"), offset))
            clock.s += 2
        [group] = statistics.errors()
        assert (group["count"], group["message"]) == (10, "no 9")
        assert [one["offset"] for one in group["records"]] == [9, 8, 7, 6, 5]

    def test_stays_bounded_whatever_fails(self, statistics: Statistics, telemetry: Telemetry) -> None:
        for number in range(3 * ERROR_GROUPS_MAX):
            telemetry.emit(failed(ValueError("x" * 100_000), endpoint=f"shop.on_{number}"))
            telemetry.emit(processed(event_type=f"type-{number}"))
        assert len(statistics.errors()) == ERROR_GROUPS_MAX
        assert all(len(group["message"]) <= 1000 for group in statistics.errors())

    def test_counts_nothing_more_when_it_has_ended(self, statistics: Statistics, telemetry: Telemetry) -> None:
        statistics.end()
        telemetry.emit(processed())
        assert statistics.handled == 0
        assert not telemetry.wants(RecordsProcessed)


class TestLive:
    async def test_mounted_a_stream_is_one_snapshot_which_is_made_once_for_all_who_come_at_a_time(self) -> None:
        made: list[int] = []
        live = SnapshotStream(lambda: made.append(1) or {}, lambda: None, one_by_one=True)  # type: ignore[arg-type,func-returns-value,return-value]
        try:
            told = [[part async for part in live.stream()] for _ in range(10)]
        finally:
            live.end()
        assert told == [[b"data: {}\n\n"]] * 10
        assert len(made) < 10


class TestText:
    def test_json_is_laid_out_and_what_is_secret_in_it_is_hidden_however_deep(self) -> None:
        value = {"id": 1, "card": {"card_number": "4111 1111", "owners": [{"iban": "DE02", "name": "Ana"}]}}
        shown = as_text(json.dumps(value).encode())
        assert shown is not None
        assert shown["kind"] == "json"
        assert shown["masked"]
        assert json.loads(shown["text"])["card"] == {"card_number": "***", "owners": [{"iban": "***", "name": "Ana"}]}

    @pytest.mark.parametrize("name", SECRET_NAMES)
    def test_a_field_or_header_of_a_name_that_is_a_secret_s_is_hidden(self, name: str) -> None:
        shown = as_text(json.dumps({"a": [{name: "hunter2"}], name: ["hunter2", {"b": "hunter2"}]}).encode())
        assert shown is not None
        assert "hunter2" not in shown["text"]
        assert shown["masked"]
        assert headers_as_text([(name, b"hunter2")]) == [(name, "***")]

    @pytest.mark.parametrize("name", PLAIN_NAMES)
    def test_other_names_are_shown(self, name: str) -> None:
        shown = as_text(json.dumps({name: "seen"}).encode())
        assert shown is not None
        assert (json.loads(shown["text"]), shown["masked"]) == ({name: "seen"}, False)
        assert headers_as_text([(name, b"seen")]) == [(name, "seen")]

    @pytest.mark.parametrize(
        "value",
        [
            json.dumps({"body": json.dumps({"user": {"password": "hunter2"}})}),
            json.dumps(json.dumps({"a": json.dumps([{"token": "hunter2"}])})),
            json.dumps({"body": json.dumps({"password": "hunter2"})[:-1]}),
            json.dumps({"body": " " + json.dumps({"a": [[[[[[[[[[[[{"token": "hunter2"}]]]]]]]]]]]]})}),
            json.dumps([{"name": "password", "value": "hunter2"}, {"key": "Cookie", "value": "hunter2"}]),
            json.dumps({"headers": [["Authorization", "hunter2"]]}),
            json.dumps({"query": "user=ann&password=hunter2"}),
            json.dumps({"url": "postgres://ann:hunter2@db/shop"}),
            "user=ann&pwd=hunter2",
            "<order><Password>hunter2</Password></order>",
            "<s:order xmlns:s='x'><s:apiKey>hunter2</s:apiKey></s:order>",
            "Cookie: session=hunter2",
            "amqp://ann:hunter2@host",
            r'{"cut": "{\"password\": \"hunter2\"',
            '{"password": "hunter2", ' + '"x": "' + "y" * 100_000,
        ],
        ids=lambda value: value[:40],
    )
    def test_a_secret_is_hidden_wherever_it_is_written(self, value: str) -> None:
        shown = as_text(value.encode())
        assert shown is not None
        assert "hunter2" not in shown["text"]
        assert shown["masked"] or shown["cut"]
        assert "hunter2" not in str(headers_as_text([("body", value.encode())]))

    def test_json_in_a_string_without_secrets_is_shown_as_it_is(self) -> None:
        value = {"body": json.dumps({"id": 1, "name": "Ana"})}
        shown = as_text(json.dumps(value).encode())
        assert shown is not None
        assert json.loads(shown["text"]) == value

    def test_what_is_nested_deeper_than_32_levels_is_left_out(self) -> None:
        shown = as_text(b'{"a":' * 40 + b"1" + b"}" * 40)
        assert shown is not None
        assert shown["cut"]
        assert shown["text"].count('"a"') == 32

    @pytest.mark.parametrize("text", HOSTILE)
    def test_nothing_in_it_is_acted_on(self, text: str) -> None:
        for data in (text.encode(), json.dumps({text: [text]}).encode(), json.dumps(text).encode()):
            shown = as_text(data)
            assert shown is not None
            assert set(acted_on(shown["text"])) <= {"\n", "\t"}
        [(name, value)] = headers_as_text([(text, text.encode())])
        assert acted_on(name + (value or "")) == []

    def test_of_many_headers_the_first_are_shown_and_how_many_are_left_is_said(self) -> None:
        shown = headers_as_text((f"h{number}", b"x") for number in range(60))
        assert len(shown) == 51
        assert shown[-1] == ("…", "10 more headers")
        assert len(headers_as_text((f"h{number}", b"x" * 2000) for number in range(60))) < 6

    def test_cut_json_shows_nothing_of_its_secrets(self) -> None:
        shown = as_text(b'{"password": "hunter2", "rest": "' + b"x" * 300_000)
        assert shown is not None
        assert "hunter2" not in shown["text"]
        assert shown["masked"]

    def test_what_is_no_text_is_hexadecimal(self) -> None:
        shown = as_text(b"\xff\x00\x01")
        assert shown is not None
        assert (shown["kind"], shown["text"]) == ("hex", "ff 00 01")

    def test_nothing_stays_nothing(self) -> None:
        assert as_text(None) is None

    def test_headers_that_are_secret_are_hidden_and_tracebacks_left_out(self) -> None:
        headers = [("Authorization", b"Bearer x"), ("a", b"1"), ("b", None), ("evkafka-dlq-error-traceback", b"...")]
        assert headers_as_text(headers) == [("Authorization", "***"), ("a", "1"), ("b", None)]

    @given(st.binary(max_size=2000), st.integers(10, 500))
    def test_any_bytes_have_a_text_that_is_no_longer_than_asked(self, data: bytes, most: int) -> None:
        shown = as_text(data, most=most)
        assert shown is not None
        assert len(shown["text"]) <= max(most, 3)
        assert shown["size"] == len(data)
        json.dumps(shown)


class TestAPartition:
    def test_says_that_a_transaction_is_open_and_where_both_ends_are(self) -> None:
        status = PartitionStatus(
            topic="orders",
            partition=0,
            position=7,
            committed=7,
            end=7,
            pending=0,
            oldest=None,
            oldest_timestamp_ms=None,
            retrying=0,
            held=False,
            paused=False,
            full=False,
            high_watermark=12,
        )
        state, _, why = partition_state(status)
        assert state == "Reading"
        assert "a transaction is open at offset 7" in why
        assert "up to offset 12" in why
        assert (status.lag, status.undecided) == (0, 5)
