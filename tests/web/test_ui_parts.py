"""What the operations page is made of: counting, and bytes as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.runtime.status import PartitionStatus
from evkafka.telemetry import AttemptFailed, RecordsProcessed, Telemetry
from evkafka.web.ui.book import GROUPS, SECONDS, Book
from evkafka.web.ui.live import Live
from evkafka.web.ui.payloads import as_text, headers_as_text
from evkafka.web.ui.words import partition_state


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
def book(telemetry: Telemetry, clock: Clock) -> Book:
    return Book(telemetry, now=clock)


def processed(status: str = "ok", number: int = 1, event_type: str = "X") -> RecordsProcessed:
    return RecordsProcessed("shop", "t", {(event_type, status): [0.01] * number})  # type: ignore[dict-item]


def failed(error: BaseException, offset: int = 0, endpoint: str = "shop.on_order") -> AttemptFailed:
    return AttemptFailed("shop", "t", 0, offset, "X", endpoint, 1, error, "wait", 1.0)


class TestBook:
    def test_counts_per_second_over_the_last_five_whole_ones(
        self, book: Book, telemetry: Telemetry, clock: Clock
    ) -> None:
        for _ in range(5):
            telemetry.emit(processed(number=100))
            telemetry.emit(processed("retried", number=10))
            clock.s += 1
        assert book.rates() == (100.0, 10.0)
        clock.s += 60
        assert book.rates() == (0.0, 0.0)
        assert (book.handled, book.failed) == (500, 50)

    def test_the_history_has_a_place_for_every_second_also_for_those_without_news(
        self, book: Book, telemetry: Telemetry, clock: Clock
    ) -> None:
        telemetry.emit(processed(number=7))
        book.note_lag(42)
        clock.s += 10
        history = book.history()
        assert [len(values) for values in history.values()] == [SECONDS] * 6  # type: ignore[arg-type]
        assert history["handled_per_s"][-10] == 7
        assert history["lag"][-10] == 42
        assert history["p50_s"][-10] == pytest.approx(0.01)
        assert sum(history["handled_per_s"]) == 7
        assert history["p50_s"][-1] is None

    def test_errors_of_one_kind_are_one_group_with_their_last_addresses(
        self, book: Book, telemetry: Telemetry, clock: Clock
    ) -> None:
        for offset in range(10):
            telemetry.emit(failed(ValueError(f"no {offset}"), offset))
            clock.s += 2
        [group] = book.errors()
        assert (group["count"], group["message"]) == (10, "no 9")
        assert [one["offset"] for one in group["records"]] == [9, 8, 7, 6, 5]

    def test_stays_bounded_whatever_fails(self, book: Book, telemetry: Telemetry) -> None:
        for number in range(3 * GROUPS):
            telemetry.emit(failed(ValueError("x" * 100_000), endpoint=f"shop.on_{number}"))
            telemetry.emit(processed(event_type=f"type-{number}"))
        assert len(book.errors()) == GROUPS
        assert all(len(group["message"]) <= 1000 for group in book.errors())

    def test_counts_nothing_more_when_it_has_ended(self, book: Book, telemetry: Telemetry) -> None:
        book.end()
        telemetry.emit(processed())
        assert book.handled == 0
        assert not telemetry.wants(RecordsProcessed)


class TestLive:
    async def test_mounted_a_stream_is_one_snapshot_which_is_made_once_for_all_who_come_at_a_time(self) -> None:
        made: list[int] = []
        live = Live(lambda: made.append(1) or {}, lambda: None, one_by_one=True)  # type: ignore[arg-type,func-returns-value,return-value]
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
