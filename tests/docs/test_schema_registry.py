"""The page "Schema Registry": its service and its test run, and its other code is accepted."""

from __future__ import annotations

import pytest

from tests.support.doc_pages import blocks, file

PAGE = "docs/schema-registry.md"

pytest_plugins = ["pytester"]


def test_its_service_passes_its_test(pytester: pytest.Pytester) -> None:
    for name in ("shop.py", "test_shop.py"):
        (pytester.path / name).write_text(file(PAGE, name))
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    done.assert_outcomes(passed=1)


def test_its_other_code_is_accepted() -> None:
    untitled = [block.code for block in blocks(PAGE) if block.language == "python" and block.title is None]
    for code in untitled:
        exec(compile(code, PAGE, "exec", dont_inherit=True), {"__name__": "example"})
    assert len(untitled) == 3
