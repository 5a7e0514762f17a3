"""Whatever records look like: each is handled, passed, buried, or stops the app, as its decision says; none is lost."""

from __future__ import annotations

from hypothesis import given, settings

from tests.fuzz.inputs import Case, cases
from tests.fuzz.run import hold


@settings(max_examples=150, deadline=None)
@given(cases())
def test_each_record_becomes_what_its_decision_says(case: Case) -> None:
    hold(case)
