"""The pages "Concurrency and ordering" and "Batches": the tests of their files pass."""

from __future__ import annotations

import pytest

from tests.support.doc_pages import blocks

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("page", ["docs/concurrency.md", "docs/batches.md"])
def test_its_files_are_a_suite_that_passes(pytester: pytest.Pytester, page: str) -> None:
    python = [block for block in blocks(page) if block.language == "python"]
    imports = []
    for block in python:
        assert block.title is not None, f"a block without a file's name is not run:\n{block.code}"
        (pytester.path / block.title).write_text(block.code)
        if not block.title.startswith("test_"):
            imports.append(block.title.removesuffix(".py"))
    every = "".join(f"def test_{name}_is_accepted():\n    import {name}\n" for name in imports)
    (pytester.path / "test_every_file.py").write_text(every)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=100)

    done.assert_outcomes(passed=len(imports) + sum(block.code.count("def test_") for block in python))
