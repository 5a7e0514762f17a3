"""CONTRIBUTING.md, AGENTS.md and SECURITY.md name only files and make targets that exist."""

from __future__ import annotations

import re

import pytest

from tests.support.doc_pages import ROOT

PAGES = ("AGENTS.md", "CONTRIBUTING.md", "SECURITY.md")
FOLDERS = (ROOT, ROOT / "src" / "evkafka", ROOT / "tests")
PATH = re.compile(r"`([\w./-]+/[\w./-]*)`")
TARGET = re.compile(r"^make ([\w-]+)|`make ([\w-]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    paths = PATH.findall((ROOT / page).read_text())
    assert paths
    assert [path for path in paths if not any((folder / path).exists() for folder in FOLDERS)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {first or second for first, second in TARGET.findall((ROOT / page).read_text())}
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
