"""The check of the site's search: `make docs` runs it on the built index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tools import site_search

from tests.support.doc_pages import ROOT

ITEMS = [
    {
        "location": "errors/",
        "level": 1,
        "title": "Errors and retries",
        "text": "<p>A <em>poison</em> message waits.</p>",
    },
    {"location": "faq/#poison", "level": 2, "title": "What is a poison message?", "text": ""},
    {"location": "faq/#lag", "level": 2, "title": "Lag", "text": "Poison &amp; message"},
]


class TestPages:
    def test_with_the_words_in_a_heading_come_first_and_each_comes_once(self) -> None:
        assert site_search.pages(ITEMS, "poison message") == ["faq/", "errors/"]

    def test_need_all_words_in_one_section(self) -> None:
        assert site_search.pages(ITEMS, "poison retries lag") == []

    def test_are_found_by_the_start_of_a_word_but_not_by_a_tag(self) -> None:
        assert site_search.pages(ITEMS, "retr") == ["errors/"]
        assert site_search.pages(ITEMS, "em") == []


class TestCheck:
    def test_fails_with_a_line_for_each_word_that_does_not_find_its_page(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        index = tmp_path / "search.json"
        index.write_text(json.dumps({"items": ITEMS}))
        monkeypatch.setattr(site_search, "INDEX", index)
        monkeypatch.setattr(site_search, "EXPECTED", {"poison": "errors/", "lag": "glossary/"})
        assert site_search.main() == 1
        assert capsys.readouterr().err == (
            "search: 'lag' finds faq/, not glossary/: write these words into that page\n"
        )

    def test_expects_thirty_words_at_least_of_pages_that_exist(self) -> None:
        assert len(site_search.EXPECTED) >= 30
        missing = [page for page in site_search.EXPECTED.values() if not (ROOT / "docs" / f"{page[:-1]}.md").exists()]
        assert missing == []

    def test_is_a_part_of_make_docs(self) -> None:
        assert "-m tools.site_search" in (ROOT / "Makefile").read_text()
