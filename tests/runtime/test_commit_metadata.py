"""The text beside a committed offset: it says exactly what was written, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.records import TopicPartition
from evkafka.runtime.commit_metadata import (
    CommitMetadata,
    OwnerMark,
    Ownership,
    Unusable,
    group_and_partition_text_for_checksum,
    parse_metadata_or_raise,
)
from evkafka.runtime.completed_offsets import (
    OffsetRange,
    decode_attempts,
    decode_ranges,
    encode_attempts,
    encode_ranges,
    text_length_of_ranges,
)
from evkafka.runtime.dead_letters.rate import DeadLetterRate

LIMIT = 3_500
HERE = group_and_partition_text_for_checksum("billing", TopicPartition("orders", 0))


@st.composite
def range_lists(draw: st.DrawFn, base: int = 1_000) -> list[OffsetRange]:
    gaps = draw(st.lists(st.tuples(st.integers(1, 3_000), st.integers(1, 3_000)), max_size=40))
    found, at = [], base
    for gap, length in gaps:
        found.append(OffsetRange(at + gap, at + gap + length))
        at = found[-1].end
    return found


def offsets_of(ranges: list[OffsetRange]) -> set[int]:
    return {offset for start, end in ranges for offset in range(start, end)}


class TestRanges:
    @given(range_lists())
    def test_are_read_as_they_were_written(self, ranges: list[OffsetRange]) -> None:
        text = encode_ranges(1_000, ranges, LIMIT)
        assert decode_ranges(1_000, text) == ranges if ranges else text == ""

    @given(st.sets(st.integers(0, 400)))
    def test_hold_the_same_offsets_as_a_set(self, finished: set[int]) -> None:
        ranges: list[OffsetRange] = []
        for offset in sorted(finished):
            if ranges and ranges[-1].end == offset:
                ranges[-1] = OffsetRange(ranges[-1].start, offset + 1)
            else:
                ranges.append(OffsetRange(offset, offset + 1))
        text = encode_ranges(0, ranges, LIMIT)
        assert offsets_of(decode_ranges(0, text) if text else []) == finished

    @given(range_lists(), st.integers(0, 60))
    def test_that_do_not_fit_are_left_out_shortest_first(self, ranges: list[OffsetRange], limit: int) -> None:
        text = encode_ranges(1_000, ranges, limit)
        assert len(text) <= limit
        found = decode_ranges(1_000, text) if text else []
        lengths = sorted((end - start for start, end in ranges), reverse=True)
        assert set(found) <= set(ranges)
        assert sorted((end - start for start, end in found), reverse=True) == lengths[: len(found)]

    def test_of_every_other_offset_take_one_bit_for_each(self) -> None:
        ranges = [OffsetRange(offset, offset + 1) for offset in range(1, 2_000, 2)]
        assert text_length_of_ranges(0, ranges) == 1 + 336  # 2000 bits, six in a character

    def test_one_range_of_ten_million_offsets_is_short(self) -> None:
        assert text_length_of_ranges(0, [OffsetRange(1, 10_000_001)]) <= 12

    @pytest.mark.parametrize("text", ["", "x", "x====", "rAAA=", "r!", "rgA==", "rAQ=="])
    def test_a_text_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            decode_ranges(0, text)


class TestAttempts:
    @given(st.dictionaries(st.integers(5, 100_000), st.integers(1, 500), max_size=50))
    def test_are_read_as_they_were_written(self, attempts: dict[int, int]) -> None:
        assert decode_attempts(5, encode_attempts(5, attempts, LIMIT)) == attempts

    @given(st.dictionaries(st.integers(5, 100_000), st.integers(1, 500), min_size=1, max_size=50), st.integers(0, 40))
    def test_that_do_not_fit_are_left_out_from_the_end(self, attempts: dict[int, int], limit: int) -> None:
        text = encode_attempts(5, attempts, limit)
        assert len(text) <= limit
        found = decode_attempts(5, text)
        assert found == {offset: attempts[offset] for offset in sorted(attempts)[: len(found)]}


MARKS = st.builds(
    OwnerMark,
    st.sampled_from(Ownership),
    st.integers(0, 9),
    st.none() | st.integers(1_000, 9_000),
    st.sampled_from(["", "0a1b2c3d"]),
)
METADATA = st.builds(
    CommitMetadata,
    st.just(1_000),
    st.sampled_from(["", "TJmDwwrKTfKmZ9gbcYVNbQ"]),
    st.integers(-1, 50),
    range_lists(),
    st.dictionaries(st.integers(1_000, 9_000), st.integers(1, 9), max_size=5),
    MARKS,
    st.sampled_from(["", "evkafka-dlq/1 0 2 500 eJxjZAQAAAUAAg=="]),
)


def example(**values: object) -> CommitMetadata:
    full = {
        "base": 1_000,
        "topic_id": "TJmDwwrKTfKmZ9gbcYVNbQ",
        "epoch": 3,
        "finished": [OffsetRange(1_002, 1_010), OffsetRange(1_012, 1_013)],
        "attempts": {1_001: 4},
        "mark": OwnerMark(Ownership.BEGUN, 1),
    }
    return CommitMetadata(**{**full, **values})  # type: ignore[arg-type]


class TestTheText:
    @given(METADATA)
    def test_is_read_as_it_was_written(self, metadata: CommitMetadata) -> None:
        found = parse_metadata_or_raise(
            metadata.as_text(LIMIT, HERE), 1_000, "" if metadata.is_plain else metadata.topic_id, HERE
        )
        expected = CommitMetadata(1_000, rate=metadata.rate) if metadata.is_plain else metadata
        assert (list(found.finished), found.attempts) == (list(expected.finished), expected.attempts)
        assert (found.base, found.topic_id, found.mark, found.rate) == (
            expected.base,
            expected.topic_id,
            expected.mark,
            expected.rate,
        )

    @given(METADATA, st.integers(0, 400))
    def test_is_never_longer_than_allowed_and_claims_nothing_that_is_not_so(
        self, metadata: CommitMetadata, limit: int
    ) -> None:
        text = metadata.as_text(limit, HERE)
        assert len(text) <= limit
        if text and not metadata.is_plain:
            found = parse_metadata_or_raise(text, 1_000, metadata.topic_id, HERE)
            assert offsets_of(list(found.finished)) <= offsets_of(list(metadata.finished))
            assert found.attempts.items() <= metadata.attempts.items()

    def test_every_flipped_bit_makes_it_unusable(self) -> None:
        text = example().as_text(LIMIT, HERE)
        for at in range(len(text)):
            for bit in range(7):
                flipped = text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]
                with pytest.raises(Unusable):
                    parse_metadata_or_raise(flipped, 1_000, "TJmDwwrKTfKmZ9gbcYVNbQ", HERE)

    def test_every_shortened_text_is_unusable(self) -> None:
        text = example().as_text(LIMIT, HERE)
        for length in range(1, len(text)):
            with pytest.raises(Unusable):
                parse_metadata_or_raise(text[:length], 1_000, "TJmDwwrKTfKmZ9gbcYVNbQ", HERE)

    @given(st.text(min_size=1) | st.text().map(lambda text: f"evkafka-offsets/1 {text}"))
    def test_any_other_text_is_unusable(self, text: str) -> None:
        with pytest.raises(Unusable):
            parse_metadata_or_raise(text, 0, "", HERE)

    def test_of_another_version_is_unusable_and_says_so(self) -> None:
        text = example().as_text(LIMIT, HERE).replace("evkafka-offsets/1", "evkafka-offsets/2")
        with pytest.raises(Unusable, match=r"another version of EVKafka has written it \(2\)"):
            parse_metadata_or_raise(text, 1_000, "TJmDwwrKTfKmZ9gbcYVNbQ", HERE)

    @pytest.mark.parametrize(
        ("base", "topic_id", "why"),
        [
            (999, "TJmDwwrKTfKmZ9gbcYVNbQ", "it belongs to offset 1000"),
            (1_001, "TJmDwwrKTfKmZ9gbcYVNbQ", "it belongs to offset 1000"),
            (1_000, "another", "an earlier topic of this name"),
            (1_000, "", "an earlier topic of this name"),
        ],
    )
    def test_of_another_offset_or_topic_is_unusable(self, base: int, topic_id: str, why: str) -> None:
        with pytest.raises(Unusable, match=why):
            parse_metadata_or_raise(example().as_text(LIMIT, HERE), base, topic_id, HERE)

    @pytest.mark.parametrize(
        "place",
        [
            group_and_partition_text_for_checksum("billing", TopicPartition("orders", 1)),
            group_and_partition_text_for_checksum("shipping", TopicPartition("orders", 0)),
            group_and_partition_text_for_checksum("billing", TopicPartition("bills", 0)),
        ],
    )
    def test_of_another_partition_group_or_topic_name_is_unusable(self, place: str) -> None:
        with pytest.raises(Unusable, match="belongs to another partition or group"):
            parse_metadata_or_raise(example().as_text(LIMIT, HERE), 1_000, "TJmDwwrKTfKmZ9gbcYVNbQ", place)

    def test_of_a_plain_commit_is_the_one_that_earlier_versions_read(self) -> None:
        rate = DeadLetterRate(100)
        rate.count_dead_letter()
        assert CommitMetadata(5, "id", 1).as_text(LIMIT, HERE) == ""
        text = CommitMetadata(5, "id", 1, rate=rate.to_metadata_text()).as_text(LIMIT, HERE)
        assert text == rate.to_metadata_text()
        assert parse_metadata_or_raise(text, 5, "id", HERE).rate == text
