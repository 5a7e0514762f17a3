"""The directory in which the workers of one app share their metrics."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("evkafka.cli")

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX, LOCK = "evkafka-metrics-", ".supervised"


@contextmanager
def share_metrics_directory() -> Iterator[None]:
    """Set the directory in which the processes share their metrics: the first worker's /metrics then covers all."""
    if os.environ.get(VARIABLE):
        yield
        return
    try:
        lock, directory = _create_metrics_directory()
    except OSError as error:
        logger.warning(
            "no directory can be created in %s (%s): /metrics and the probes of the first worker cover that worker"
            " only; set %s to another directory",
            tempfile.gettempdir() if tempfile.tempdir else "the temporary directory",
            error.strerror,
            VARIABLE,
        )
        yield
        return
    os.environ[VARIABLE] = str(directory)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _create_metrics_directory() -> tuple[int, Path]:
    """A new directory, and a lock in it that shows that this supervisor lives.

    Directories of supervisors that were killed are removed. A process id could not tell which these are, because
    several containers may share the temporary directory.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_abandoned(old)
    new = Path(tempfile.mkdtemp(prefix="evkafka-new-"))
    lock = os.open(new / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Only a locked directory gets the name that another supervisor looks for.
    directory = new.with_name(new.name.replace("evkafka-new-", PREFIX))
    new.rename(directory)
    return lock, directory


def _remove_if_abandoned(directory: Path) -> None:
    try:
        lock = os.open(directory / LOCK, os.O_RDWR)
    except OSError:
        return  # it has no lock, or belongs to another user
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:
        return  # its supervisor is alive
    finally:
        os.close(lock)
