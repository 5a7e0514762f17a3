"""A PostgreSQL server for one test, from installed binaries; it is stopped and deleted at the end of the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _binaries() -> Path | None:
    """The directory of PostgreSQL's programs. On Debian it is not in PATH, and there is one per version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    return found[-1].parent if found else None


BINARIES = _binaries()


@contextmanager
def running() -> Iterator[str]:
    """The address of an empty database."""
    assert BINARIES is not None
    # PostgreSQL refuses to run as root; its package creates the user "postgres".
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg") as home:
        if user is not None:
            shutil.chown(home, user)

        def run(program: str, *arguments: str) -> None:
            command = [str(BINARIES / program), "-D", f"{home}/data", *arguments]
            subprocess.run(command, user=user, cwd=home, check=True, timeout=240, stdout=subprocess.DEVNULL)

        run("initdb", "-U", "me", "-A", "trust", "--no-sync")
        run("pg_ctl", "start", "-w", "-l", f"{home}/log", "-o", f"-c listen_addresses= -c fsync=off -k {home}")
        try:
            yield f"postgresql:///postgres?host={home}&user=me"
        finally:
            run("pg_ctl", "stop", "-w", "-m", "immediate")
