"""`.ci/run` starts with an empty home and empty caches; only the package clients' configuration is linked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = 'source .ci/own_home "$1"; env -0'


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A home with configuration and with caches."""
    home = tmp_path / "real"
    for name in (
        ".npmrc",
        ".config/pip/pip.conf",
        ".config/go/env",
        ".cache/go-build/x",
        ".m2/repository/x",
        "go/pkg/x",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    return home


def after(own: Path, **environment: str) -> dict[str, str]:
    """Return the environment after `source .ci/own_home`."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", SCRIPT, "script", str(own)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)


def test_only_configuration_is_linked(real: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    environment = after(own, HOME=str(real))
    assert environment["HOME"] == str(own)
    files = {str(path.relative_to(own)) for path in own.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert files == {".npmrc", ".config/pip", ".config/go/env"}
    assert (own / ".config" / "pip" / "pip.conf").read_text() == ".config/pip/pip.conf"


def test_cache_variables_are_unset_and_index_variables_are_kept(real: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    caches = {"XDG_CACHE_HOME": "/c", "PIP_CACHE_DIR": "/c", "GOPATH": "/c", "GOCACHE": "/c", "EVKAFKA_CACHE_DIR": "/c"}
    environment = after(own, HOME=str(real), PIP_INDEX_URL="an index", GOPROXY="a proxy", **caches)
    assert "/c" not in environment.values()
    assert environment["GOPATH"].startswith(str(own))
    assert environment["GOCACHE"].startswith(str(own))
    assert (environment["PIP_INDEX_URL"], environment["GOPROXY"]) == ("an index", "a proxy")


def test_a_home_without_configuration_stays_empty(tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert after(own)["HOME"] == str(own)
    assert list(own.iterdir()) == []
