"""An empty cache, and a Maven repository on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.maven_repository import MavenRepository


@pytest.fixture
def repository() -> Iterator[MavenRepository]:
    repository = MavenRepository()
    yield repository
    repository.close()


@pytest.fixture
def cache(tmp_path: Path, repository: MavenRepository, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and an empty local Maven repository; jgo's configuration has the local server."""
    (tmp_path / "jgo.conf").write_text(f"[repositories]\ncentral = {repository.url}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("EVKAFKA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"
