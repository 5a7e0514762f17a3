"""A configuration is accepted and runs, or is rejected with one ConfigError that names the keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.config_checks import check_app, check_environment, check_settings
from tests.fuzz.configurations import ANY, ENVIRONMENTS, configurations


@pytest.mark.parametrize("kind", ["consumer", "producer", "policy"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_configuration_is_accepted_or_its_error_names_the_key(kind: str, data: st.DataObject) -> None:
    check_settings(kind, data.draw(configurations(kind)))


@settings(max_examples=30, deadline=None)
@given(configurations("consumer"))
def test_an_accepted_configuration_runs(consumer: dict[Any, Any]) -> None:
    check_app({"topics": ["orders"], "group_id": "g", **consumer})


@settings(max_examples=30, deadline=None)
@given(ENVIRONMENTS)
def test_environment_variables_are_accepted_or_refused(variables: dict[str, str]) -> None:
    check_environment(variables)


@settings(max_examples=30, deadline=None)
@given(ANY)
def test_a_value_of_another_type_is_refused(anything: Any) -> None:
    if not isinstance(anything, dict):
        check_app(anything)
