"""Defects that the fuzzer has found."""

from __future__ import annotations

import pytest

from tests.fuzz.inputs import TYPE, Case, Sent
from tests.fuzz.run import check_case


@pytest.mark.parametrize("then", ["skip", "dead_letter", "stop"])
@pytest.mark.parametrize("style", ["evkafka", "spring"])
@pytest.mark.parametrize("delays_ms", [[], [50]], ids=["in place", "by a retry topic"])
def test_an_error_that_cannot_be_printed_is_handled_like_any_other(then: str, style: str, delays_ms: list[int]) -> None:
    """It ended the consumer when its text was needed for the headers of the dead letter."""
    policy = {
        "backoff_ms": 1,
        "max_attempts": 2,
        "then": then,
        "retry_topics": delays_ms,
        "dead_letter_header_style": style,
    }
    config = {"topics": ["t"], "group_id": "g", "auto_offset_reset": "earliest", "on_error": policy}
    config |= {"max_pending_records": 10, "unmatched": "skip"}
    sent = [
        Sent(n, 0, None, b'{"do": "unprintable"}' if n == 1 else b'{"do": "ok"}', ((TYPE, b"model"),)) for n in range(3)
    ]
    check_case(Case(1, 1, False, config, tuple(sent), 3))


class TestPreCommitAtIntervalZero:
    """The records of each poll are committed before they run."""

    def test_a_corrupt_record_at_the_end_is_skipped_and_committed(self) -> None:
        """Its offset was not committed until another record arrived: lag stayed at 1."""
        config = {"topics": ["t"], "group_id": "g", "auto_offset_reset": "earliest"}
        config |= {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0, "max_pending_records": 10}
        sent = [Sent(n, 0, None, b"", ((TYPE, b"bytes"),), corrupt=n == 1) for n in range(2)]
        check_case(Case(1, 1, False, config, tuple(sent), 2))

    def test_a_consumer_without_a_group_handles_its_records(self) -> None:
        """It waited for a commit that is impossible without a group, and dropped the records."""
        config = {"topics": ["t"], "auto_offset_reset": "earliest", "max_pending_records": 10}
        config |= {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0}
        sent = [Sent(n, 0, None, b"", ((TYPE, b"bytes"),)) for n in range(3)]
        check_case(Case(1, 1, False, config, tuple(sent), 3))
