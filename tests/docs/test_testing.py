"""The page "Testing": the tests of its files pass."""

from __future__ import annotations

import pytest

from tests.support.doc_pages import blocks

PAGE = "docs/testing.md"

pytest_plugins = ["pytester"]


@pytest.mark.kafka
def test_its_files_are_a_suite_that_passes(pytester: pytest.Pytester, kafka_cache: None) -> None:
    python = [block for block in blocks(PAGE) if block.language == "python"]
    for block in python:
        assert block.title is not None, f"a block without a file's name is not run:\n{block.code}"
        (pytester.path / block.title).write_text(block.code)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    tests = sum(block.code.count("def test_") for block in python)
    done.assert_outcomes(passed=tests)
