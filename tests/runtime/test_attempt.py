"""The outcome of an attempt."""

from __future__ import annotations

import pytest

from evkafka.outcomes import DeadLetter, Outcome, Retry, Skip
from evkafka.runtime.attempt import classify_result


class TestClassify:
    @pytest.mark.parametrize("returned", [None, 0, "Skip", {"a": 1}, ValueError("returned, not raised"), Exception])
    def test_a_value_that_is_not_an_outcome_means_done(self, returned: object) -> None:
        assert classify_result(returned) is None

    @pytest.mark.parametrize("outcome", [Skip, Retry, DeadLetter])
    def test_a_bare_class_counts_as_its_instance(self, outcome: type[Outcome]) -> None:
        assert isinstance(classify_result(outcome), outcome)
