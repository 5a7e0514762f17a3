"""Untrusted text is safe to show."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.serde.safe_text import escape_line, escape_multiline_text, json_text, timestamp_to_datetime, truncate
from tests.support.odd_records import HOSTILE
from tests.support.unsafe_text import ANY_TEXT, acted_on

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


class TestOneLine:
    def test_no_unsafe_character_is_left(self) -> None:
        everything = "".join(map(chr, range(sys.maxunicode + 1)))
        assert acted_on(escape_line(everything)) == []
        assert acted_on(escape_multiline_text(everything)) == ["\t", "\n"]

    def test_leaves_letters_signs_and_pictures_as_they_are(self) -> None:
        plain = "Grüße, 5 €, 日本語, العربية, \U0001f600 [bold] :smile: \\n"
        assert escape_line(plain) == escape_multiline_text(plain) == plain

    def test_escapes_as_json_does(self) -> None:
        assert escape_line("a\n\x1b\x7f\u202e\ud800\U000e0041") == r"a\n\u001b\u007f\u202e\ud800\udb40\udc41"

    @given(ANY_TEXT, st.integers(1, 50))
    def test_of_any_text_is_one_line_that_can_be_encoded_and_no_longer_than_asked(self, text: str, most: int) -> None:
        shown = escape_line(text, most)
        assert len(shown) <= most
        assert acted_on(shown) == []
        shown.encode()
        assert len(shown.splitlines()) <= 1

    @given(ANY_TEXT, st.integers(1, 50))
    def test_lines_are_the_same_with_tabs_and_ends_of_lines(self, text: str, most: int) -> None:
        shown = escape_multiline_text(text, most)
        assert len(shown) <= most
        assert set(acted_on(shown)) <= {"\t", "\n"}
        assert escape_line(shown, most) == escape_line(text, most)

    def test_work_is_bounded_by_the_shown_length(self) -> None:
        class Text(str):
            """Says how much of it is taken."""

            __slots__ = ()
            taken = 0

            def __getitem__(self, key: object) -> str:
                part = str.__getitem__(self, key)  # type: ignore[index]
                Text.taken = len(part)
                return part

        assert len(escape_line(Text("\x1b" * 10_000_000), 100)) == 100
        assert Text.taken < 100

    def test_a_cut_text_ends_with_an_ellipsis(self) -> None:
        assert truncate("abc", 3) == "abc"
        assert truncate("abcd", 3) == "ab…"


class TestJson:
    @given(ANY_JSON)
    def test_of_any_value_says_the_same_with_no_character_that_is_acted_on(self, value: object) -> None:
        for text in (json_text(value), json_text(value, indent=2), json_text(value, compact=False)):
            assert json.loads(text) == value
            assert set(acted_on(text)) <= {"\n"}
            text.encode()
        assert "\n" not in json_text(value)

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_refuses_numbers_that_json_does_not_have(self, number: float) -> None:
        with pytest.raises(ValueError, match="JSON"):
            json_text({"n": number})

    @pytest.mark.parametrize("text", HOSTILE)
    def test_of_hostile_text_is_printable(self, text: str) -> None:
        assert json_text([text]).isprintable()


class TestTimes:
    def test_of_a_record_are_exact(self) -> None:
        assert timestamp_to_datetime(253_402_300_799_999) == datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
        assert timestamp_to_datetime(0) == datetime(1970, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize("timestamp_ms", [-1, -(2**63), 253_402_300_800_000, 9 * 10**17, 2**63 - 1])
    def test_that_no_calendar_has_are_none(self, timestamp_ms: int) -> None:
        assert timestamp_to_datetime(timestamp_ms) is None
