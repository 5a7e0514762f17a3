"""Whatever a configuration looks like: it is taken, and then it runs; or it is one ConfigError that names the keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.configurations import ANY, ENVIRONMENTS, configurations
from tests.fuzz.wrong import outside, refused_by_key, taken_or_refused


@pytest.mark.parametrize("kind", ["consumer", "producer", "policy"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_it_is_taken_or_refused_by_key(kind: str, data: st.DataObject) -> None:
    refused_by_key(kind, data.draw(configurations(kind)))


@settings(max_examples=60, deadline=None)
@given(configurations("consumer"))
def test_what_is_taken_runs(consumer: dict[Any, Any]) -> None:
    taken_or_refused({"topics": ["orders"], "group_id": "g", **consumer})


@settings(max_examples=60, deadline=None)
@given(ENVIRONMENTS)
def test_what_the_environment_says_is_taken_or_refused(variables: dict[str, str]) -> None:
    outside(variables)


@settings(max_examples=60, deadline=None)
@given(ANY)
def test_what_is_no_configuration_at_all_is_refused(anything: Any) -> None:
    if not isinstance(anything, dict):
        taken_or_refused(anything)
