"""The search of records: by what the page shows, without what it hides."""

from __future__ import annotations

import json
import random

import pytest

from evkafka.runtime.ports import UnreadRecord
from evkafka.serde.safe_text import CUT
from evkafka.ui.payload_text import headers_as_text, payload_as_text
from evkafka.ui.record_filter import RecordFilter
from tests.support.odd_records import VALUES, OddRecord, odd_records


def record(value: bytes | None = b"{}", key: bytes | None = None, **headers: bytes) -> OddRecord:
    return OddRecord("orders", 0, 0, 1, key, value, list(headers.items()))


def finds(text: str, one: OddRecord) -> bool:
    return RecordFilter.from_texts("", text).matches(one)


class TestText:
    @pytest.mark.parametrize("text", ["Ana Müller", "ANA MÜLLER", '"name": "Ana', '"name":"ana', "12.50", "1000.0"])
    def test_is_found_in_the_payload_whatever_its_case_and_spaces(self, text: str) -> None:
        order = {"name": "Ana Müller", "price": 12.5, "weight": 1e3}
        value = json.dumps(order).replace("1000.0", "1e3").replace("12.5", "12.50")
        assert finds(text, record(value.encode())) is (text != "12.50")  # shown as 12.5

    def test_is_found_in_key_headers_and_their_names(self) -> None:
        one = record(key=b"order-17", **{"Event-Type": b"OrderPlaced"})
        assert all(finds(text, one) for text in ("order-1", "OrderPl", "event-type"))
        assert not finds("order-18", one)

    def test_is_found_in_binary_data_as_hexadecimal(self) -> None:
        assert finds("ff fe 00", record(b"\xff\xfe\x00"))
        assert finds("fffe", record(b"\xff\xfe\x00"))

    def test_is_found_in_the_reason_why_a_record_cannot_be_read(self) -> None:
        assert RecordFilter.from_texts("", "too large").matches(
            UnreadRecord("orders", 0, 1, 4, ValueError("Too large"))
        )

    @pytest.mark.parametrize("seed", range(2))
    def test_that_the_page_shows_is_always_found(self, seed: int) -> None:
        rng = random.Random(seed)
        for one in (*odd_records(40, seed=seed), *(record(value) for value in VALUES[seed::2])):
            shown = [payload_as_text(one.value), payload_as_text(one.key, most=1024)]
            texts = [part["text"] for part in shown if part is not None and part["text"]]
            texts += [value for name, value in headers_as_text(one.headers) if value and name != CUT]
            for text in texts:
                at = rng.randrange(len(text))
                piece = text[at : at + rng.randint(1, 20)]
                assert finds(piece, one), (piece, text[:200])


class TestKey:
    def test_is_the_whole_key(self) -> None:
        one = record(key=b"order-17")
        assert RecordFilter.from_texts("order-17", "").matches(one)
        assert not any(RecordFilter.from_texts(key, "").matches(one) for key in ("order-1", "ORDER-17", "17"))

    def test_of_json_is_found_with_any_spaces(self) -> None:
        assert RecordFilter.from_texts('{"id": 1}', "").matches(record(key=b'{"id":1}'))

    def test_is_not_found_in_a_record_without_one(self) -> None:
        assert not RecordFilter.from_texts("17", "").matches(record(key=None))


class TestHiddenFields:
    @pytest.mark.parametrize(
        "one",
        [
            record(b'{"card_number": "4111111111111111"}'),
            record(b'{"payload": "{\\"password\\": \\"4111111111111111\\"}"}'),
            record(b"password=4111111111111111"),
            record(key=b"token=4111111111111111"),
            record(**{"X-Api-Key": b"4111111111111111"}),
        ],
    )
    @pytest.mark.parametrize("text", ["4111111111111111", "4111", "4"])
    def test_cannot_be_searched(self, one: OddRecord, text: str) -> None:
        assert not finds(text, one)

    def test_cannot_be_searched_by_key(self) -> None:
        one = record(key=b"token=4111111111111111")
        assert not RecordFilter.from_texts("token=4111111111111111", "").matches(one)
        assert not RecordFilter.from_texts("***", "").matches(one)


class TestFailures:
    def test_of_one_record_do_not_end_the_search(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("evkafka.ui.record_filter.payload_as_text", lambda *args, **options: 1 / 0)
        assert not finds("{", record(b"{}"))
        assert "orders[0]@0 cannot be searched" in caplog.text
