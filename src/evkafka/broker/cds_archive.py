"""Kafka's classes as Java itself keeps them (class data sharing): with them, a start costs half of the work.

Java writes down which classes the first Kafka uses, and the next start makes the archive of that list: four seconds and
70 MB, once for each Java. Where any of it fails, Kafka starts as it would without: this is for speed alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from evkafka.broker.jars import KAFKA_VERSION, cache_dir
from evkafka.broker.process import ChildProcess

RECORDED = "classes.lst"
"""In the broker's own directory, while it runs."""

FEWEST_CLASSES = 5_000
"""A Kafka that came up uses twice as many; a shorter list is one that was cut off."""

OF_NO_MATTER = ("-Xmx", "-Xms", "-D")
"""Options that an archive does not depend on."""

MAKING_S = 60.0
KEPT_S = 30 * 86_400.0


class ClassArchive:
    """The archive for this Java with these jars and options; Java refuses it for any others.

    Attributes:
        file: where it is, or would be.
    """

    def __init__(self, java: Path, jars: Sequence[Path], jvm_options: Sequence[str]) -> None:
        self._java = java
        self._options = [option for option in jvm_options if not option.startswith(OF_NO_MATTER)]
        self._class_path = os.pathsep.join(map(str, jars))
        told = [str(java.resolve()), *self._options, *map(_mark, (java, *jars))]
        key = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
        self.file = cache_dir() / f"kafka-{KAFKA_VERSION}" / "classes" / f"{key}.jsa"
        self._list = self.file.with_suffix(".lst")
        self._given_up = self.file.with_suffix(".failed")

    def options(self) -> list[str]:
        """What uses it; nothing where it is not there."""
        return [f"-XX:SharedArchiveFile={self.file}", "-Xshare:auto"] if self.file.exists() else []

    # ------------------------------------------------------------------ the first time

    def recording(self, home: Path) -> list[str]:
        """What makes Java write the list, in the broker's directory; nothing where it is not needed."""
        if self.file.exists() or self._list.exists() or self._given_up.exists():
            return []
        return [f"-XX:DumpLoadedClassList={home / RECORDED}"]

    def keep(self, home: Path) -> None:
        """A Kafka has ended by itself, or as it was asked to: its list is whole."""
        recorded = home / RECORDED
        with contextlib.suppress(OSError):
            lines = recorded.read_bytes()
            recorded.unlink()
            if lines.count(b"\n") >= FEWEST_CLASSES:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                scratch = self._list.with_suffix(f".{os.getpid()}")
                scratch.write_bytes(lines)
                scratch.replace(self._list)

    # ------------------------------------------------------------------ the second time

    def make(self) -> None:
        """Make it of the list, where there is one and nobody else is about it."""
        if self.file.exists() or not self._list.exists() or self._given_up.exists():
            return
        with contextlib.suppress(OSError), self._alone() as alone:
            if alone:
                self._dump()

    def _dump(self) -> None:
        scratch = self.file.with_suffix(f".jsa-{os.getpid()}")
        log = self.file.with_suffix(".log")
        dump = ["-Xshare:dump", f"-XX:SharedClassListFile={self._list}", f"-XX:SharedArchiveFile={scratch}"]
        making = ChildProcess([str(self._java), *self._options, *dump, "-cp", self._class_path], log)
        ended = making.wait(MAKING_S)
        if not ended:
            making.kill()
        if ended and making.exit_code == 0 and scratch.exists():
            self._forget_others()
            scratch.replace(self.file)
            log.unlink(missing_ok=True)
        else:
            scratch.unlink(missing_ok=True)
            self._given_up.touch()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """False where another process is at it: this one starts without meanwhile."""
        lock = self.file.with_suffix(".making")
        with contextlib.suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime > 2 * MAKING_S:  # its maker was killed
                lock.unlink()
        try:
            lock.touch(exist_ok=False)
        except FileExistsError:
            yield False
            return
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)

    def _forget_others(self) -> None:
        """Of Javas that have gone: those that were made long ago. One that is in use is made again."""
        for other in self.file.parent.glob("*.jsa"):
            if time.time() - other.stat().st_mtime > KEPT_S:
                other.unlink(missing_ok=True)


def _mark(file: Path) -> str:
    """Java compares size and time of each jar."""
    found = file.stat()
    return f"{file.name} {found.st_size} {found.st_mtime_ns}"
