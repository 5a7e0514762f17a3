"""The page "CloudEvents": its test passes with its app."""

from __future__ import annotations

import re

import pytest

from tests.support.doc_pages import file

PAGE = "docs/cloudevents.md"

pytest_plugins = ["pytester"]


def test_its_test_passes(pytester: pytest.Pytester) -> None:
    code = file(PAGE, "test_billing.py")
    (pytester.path / "billing.py").write_text(file(PAGE, "billing.py"))
    (pytester.path / "test_billing.py").write_text(code)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)
    done.assert_outcomes(passed=len(re.findall("def test_", code)))
