"""The Python code and the links of the pages."""

from __future__ import annotations

import re

import pytest

from tests.support.doc_pages import ROOT, Block, blocks

DECLARING = ["docs/delivery.md", "docs/errors.md"]
"""Pages whose Python code declares an app but starts nothing."""


def declared() -> list[object]:
    return [
        pytest.param(block, id=f"{page.removeprefix('docs/')}-{number}")
        for page in DECLARING
        for number, block in enumerate(blocks(page), 1)
        if block.language == "python"
    ]


class TestExamples:
    @pytest.mark.parametrize("block", declared())
    def test_is_accepted(self, block: Block) -> None:
        namespace: dict[str, object] = {"__name__": "example"}
        exec(compile(block.code, "example", "exec", dont_inherit=True), namespace)
        assert "handler" in namespace or "orders" in namespace


class TestLinks:
    @pytest.mark.parametrize("page", sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
    def test_leads_to_an_existing_page(self, page: str) -> None:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert ((ROOT / page).parent / target).exists(), target

    def test_of_llms_txt_lead_to_existing_pages_and_its_service_is_accepted(self) -> None:
        text = (ROOT / "docs" / "llms.txt").read_text()
        named = set(re.findall(r"\]\(([^)]+)\)", text))
        assert all((ROOT / "docs" / page).exists() for page in named)

        program = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
        namespace: dict[str, object] = {"__name__": "example"}
        exec(compile(program, "llms.txt", "exec", dont_inherit=True), namespace)
        assert "app" in namespace


class TestNavigation:
    def test_lists_every_page(self) -> None:
        pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
        assert pages == set(re.findall(r'= "([^"]+\.md)"', (ROOT / "zensical.toml").read_text()))


CODE = ("python", "shell", "sh", "bash", "console", "toml", "yaml")


def pages_with_code() -> list[str]:
    pages = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if any(block.language in CODE for block in blocks(page))]


class TestCoverage:
    @pytest.mark.parametrize("page", pages_with_code())
    def test_a_page_with_code_is_named_by_a_test_that_runs_it(self, page: str) -> None:
        here = ROOT / "tests"
        assert any(f'"{page}"' in path.read_text() for path in here.rglob("test_*.py")), f"nothing runs {page}"
