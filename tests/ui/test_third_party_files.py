"""Third-party files of the pages are listed with a licence, and unchanged."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import evkafka.ui

STATIC = Path(evkafka.ui.__file__).parent / "static"
ROW = re.compile(
    r"^\| `(?P<file>[^`]+)` \| [^|]+ \| [\d.]+ \| (?P<licence>[^|]+) \| `(?P<sum>[0-9a-f]{64})` \|$", re.MULTILINE
)


def listed() -> dict[str, str]:
    return {row["file"]: row["sum"] for row in ROW.finditer((STATIC / "VENDORED.md").read_text(encoding="utf-8"))}


def test_every_third_party_file_has_its_published_checksum() -> None:
    assert {name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in listed()} == listed()


def test_every_third_party_file_is_listed() -> None:
    there = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("vendor/*")}
    assert there == set(listed())
