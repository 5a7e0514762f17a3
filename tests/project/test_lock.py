"""`uv.lock` pins the development environment, by hash."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.doc_pages import ROOT

RENEW = "uv.lock is behind pyproject.toml: `make lock` renews it"
PUBLIC = {"https://pypi.org/simple", "https://files.pythonhosted.org"}

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEXT = (ROOT / "uv.lock").read_text()
PACKAGES: list[dict[str, Any]] = tomllib.loads(TEXT)["package"]
[OURS] = [package for package in PACKAGES if package["name"] == "evkafka"]


def name_and_specifier(requirement: str) -> tuple[str, str]:
    parsed = Requirement(requirement)
    return canonicalize_name(parsed.name), str(parsed.specifier)


def locked(entries: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {name_and_specifier(entry["name"] + entry.get("specifier", "")) for entry in entries}


def test_it_covers_the_development_group() -> None:
    wanted = {name_and_specifier(one) for one in PROJECT["dependency-groups"]["dev"]}
    assert locked(OURS["metadata"]["requires-dev"]["dev"]) == wanted, RENEW


def test_it_covers_the_dependencies_and_all_extras() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = {
        name_and_specifier(one)
        for one in [*PROJECT["project"]["dependencies"], *(one for many in extras for one in many)]
    }
    assert locked(OURS["metadata"]["requires-dist"]) == wanted, RENEW


def test_each_file_has_a_hash() -> None:
    files = [file for package in PACKAGES for file in (*package.get("wheels", ()), package.get("sdist", {})) if file]
    assert len(files) > 500
    assert all(file["hash"].startswith("sha256:") for file in files)


def test_everything_comes_from_the_public_index() -> None:
    indexes = set(re.findall(r'"(https?://[^/"]+(?:/simple)?)', TEXT))
    assert indexes == PUBLIC
