"""An archive of Kafka's classes for Java's class data sharing (CDS), with which a start takes half of the CPU time.

Java lists the classes that the first Kafka uses, and the next start creates the archive from the list. That takes four
seconds and 70 MB, once for each Java. If anything fails, Kafka starts without an archive: it is only for speed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from evkafka.broker.jars import KAFKA_VERSION
from evkafka.broker.maven import cache_dir
from evkafka.broker.process import ChildProcess

CLASS_LIST = "classes.lst"
"""The class list in the directory of the running broker."""

FEWEST_CLASSES = 5_000
"""A Kafka that has started uses twice as many; a shorter list is incomplete."""

IRRELEVANT_OPTIONS = ("-Xmx", "-Xms", "-D")
"""An archive does not depend on these options."""

CREATION_S = 60.0
KEEP_S = 30 * 86_400.0


class ClassArchive:
    """The archive for one Java with these jars and options. Java rejects it with any others.

    Attributes:
        file: its path, also if it does not exist.
    """

    def __init__(self, java: Path, jars: Sequence[Path], jvm_options: Sequence[str]) -> None:
        self._java = java
        self._options = [option for option in jvm_options if not option.startswith(IRRELEVANT_OPTIONS)]
        self._class_path = os.pathsep.join(map(str, jars))
        parts = [str(java.resolve()), *self._options, *map(_name_size_and_time_text, (java, *jars))]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        self.file = cache_dir() / f"kafka-{KAFKA_VERSION}" / "classes" / f"{key}.jsa"
        self._list = self.file.with_suffix(".lst")
        self._failed = self.file.with_suffix(".failed")

    def options(self) -> list[str]:
        """The options that make Java use it; none if it does not exist."""
        return [f"-XX:SharedArchiveFile={self.file}", "-Xshare:auto"] if self.file.exists() else []

    # ------------------------------------------------------------------ the class list

    def options_to_record_class_list(self, home: Path) -> list[str]:
        """The options that make Java write the class list into the broker's directory; none if it is not needed."""
        if self.file.exists() or self._list.exists() or self._failed.exists():
            return []
        return [f"-XX:DumpLoadedClassList={home / CLASS_LIST}"]

    def keep_class_list(self, home: Path) -> None:
        """Keep the class list of a Kafka that has ended without being killed: it is complete."""
        recorded = home / CLASS_LIST
        with contextlib.suppress(OSError):
            lines = recorded.read_bytes()
            recorded.unlink()
            if lines.count(b"\n") >= FEWEST_CLASSES:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                scratch = self._list.with_suffix(f".{os.getpid()}")
                scratch.write_bytes(lines)
                scratch.replace(self._list)

    # ------------------------------------------------------------------ the archive

    def create(self) -> None:
        """Create the archive, if there is a list and no other process creates it."""
        if self.file.exists() or not self._list.exists() or self._failed.exists():
            return
        with contextlib.suppress(OSError), self._try_to_lock() as locked:
            if locked:
                self._dump_archive()

    def _dump_archive(self) -> None:
        scratch = self.file.with_suffix(f".jsa-{os.getpid()}")
        log = self.file.with_suffix(".log")
        dump = ["-Xshare:dump", f"-XX:SharedClassListFile={self._list}", f"-XX:SharedArchiveFile={scratch}"]
        making = ChildProcess([str(self._java), *self._options, *dump, "-cp", self._class_path], log)
        ended = making.has_ended_within(CREATION_S)
        if not ended:
            making.kill()
        if ended and making.exit_code == 0 and scratch.exists():
            self._remove_expired_archives()
            scratch.replace(self.file)
            log.unlink(missing_ok=True)
        else:
            scratch.unlink(missing_ok=True)
            self._failed.touch()

    @contextlib.contextmanager
    def _try_to_lock(self) -> Iterator[bool]:
        """False if another process creates the archive: this one starts without it."""
        lock = self.file.with_suffix(".making")
        with contextlib.suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime > 2 * CREATION_S:  # its owner was killed
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

    def _remove_expired_archives(self) -> None:
        """Remove old archives, which are probably of Javas that no longer exist. If one is still used, it is created
        again."""
        for other in self.file.parent.glob("*.jsa"):
            if time.time() - other.stat().st_mtime > KEEP_S:
                other.unlink(missing_ok=True)


def _name_size_and_time_text(file: Path) -> str:
    """Java compares the size and time of each jar."""
    found = file.stat()
    return f"{file.name} {found.st_size} {found.st_mtime_ns}"
