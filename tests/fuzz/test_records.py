"""Each record is handled, skipped, dead-lettered, retried, or stops the app, as documented; none is lost."""

from __future__ import annotations

from hypothesis import given, settings

from tests.fuzz.inputs import Case, cases
from tests.fuzz.run import check_case


@settings(max_examples=60, deadline=None)
@given(cases())
def test_each_record_has_the_expected_outcome(case: Case) -> None:
    check_case(case)
