"""The directory in which workers share their metrics."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from evkafka.cli.impl.metrics_directory import LOCK, PREFIX, share_metrics_directory


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    return tmp_path


def test_is_removed_at_the_end(place: Path) -> None:
    with share_metrics_directory():
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"].startswith(str(place / PREFIX))
    assert list(place.iterdir()) == []
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_that_of_a_killed_supervisor_is_removed_by_the_next_one(place: Path) -> None:
    left, living = place / f"{PREFIX}left", place / f"{PREFIX}living"
    for directory in (left, living):
        directory.mkdir()
        (directory / LOCK).touch()
    (left / "counter_1.db").touch()
    with (living / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with share_metrics_directory():
            assert not left.exists()
            assert living.exists()


def test_workers_run_without_one_if_none_can_be_created(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    place.rmdir()
    with share_metrics_directory():
        assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    assert "no directory can be created in" in caplog.text
    place.mkdir()
