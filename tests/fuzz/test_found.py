"""What the fuzz has found, kept by name."""

from __future__ import annotations

import pytest

from tests.fuzz.inputs import TYPE, Case, Sent
from tests.fuzz.run import hold


@pytest.mark.parametrize("then", ["skip", "dead_letter", "stop"])
@pytest.mark.parametrize("style", ["evkafka", "spring"])
@pytest.mark.parametrize("delays_ms", [[], [50]], ids=["in place", "by a retry topic"])
def test_an_error_whose_own_text_fails_is_decided_like_any_other(then: str, style: str, delays_ms: list[int]) -> None:
    """It used to end the consumer where its text was asked for: in the headers of the dead letter."""
    policy = {
        "backoff_ms": 1,
        "max_attempts": 2,
        "then": then,
        "retry_topics": delays_ms,
        "dead_letter_header_style": style,
    }
    config = {"topics": ["t"], "group_id": "g", "auto_offset_reset": "earliest", "on_error": policy}
    config |= {"max_pending_records": 10, "unmatched": "skip"}
    sent = [Sent(n, 0, None, b'{"do": "rude"}' if n == 1 else b'{"do": "ok"}', ((TYPE, b"model"),)) for n in range(3)]
    hold(Case(1, 1, False, config, tuple(sent), 3))


class TestAtMostOnceCommittedFirst:
    """`auto_commit_interval_ms` 0: each poll's records are committed before they run."""

    def test_what_cannot_be_read_at_the_end_is_passed_and_committed(self) -> None:
        """Its offset was never committed while nothing came behind it: lag stayed at 1."""
        config = {"topics": ["t"], "group_id": "g", "auto_offset_reset": "earliest"}
        config |= {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0, "max_pending_records": 10}
        sent = [Sent(n, 0, None, b"", ((TYPE, b"bytes"),), unreadable=n == 1) for n in range(2)]
        hold(Case(1, 1, False, config, tuple(sent), 2))

    def test_a_reader_without_a_group_runs_its_records(self) -> None:
        """It waited for a commit that cannot be, and dropped them."""
        config = {"topics": ["t"], "auto_offset_reset": "earliest", "max_pending_records": 10}
        config |= {"auto_commit_mode": "pre-commit", "auto_commit_interval_ms": 0}
        sent = [Sent(n, 0, None, b"", ((TYPE, b"bytes"),)) for n in range(3)]
        hold(Case(1, 1, False, config, tuple(sent), 3))
