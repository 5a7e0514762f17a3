"""Kafka's jars. The lock file lists them; they are downloaded once per user, and checked at every start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evkafka.exceptions import BrokerError

KAFKA_VERSION = "4.2.0"
LOCK = Path(__file__).with_name(f"kafka-{KAFKA_VERSION}.lock.json")

_DOWNLOADS_AT_ONCE = 6


@dataclass(frozen=True, slots=True)
class Jar:
    """One entry of the lock file."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def locked_jars(lock: Path = LOCK) -> list[Jar]:
    entries = json.loads(lock.read_text(encoding="utf-8"))["jars"]
    jars = []
    for entry in entries:
        group, artifact, version = entry["jar"].split(":")
        jars.append(Jar(group, artifact, version, entry["size"], entry["sha256"]))
    return jars


def cache_dir() -> Path:
    """`$EVKAFKA_CACHE_DIR`, or `evkafka` in the user's cache directory."""
    if given := os.environ.get("EVKAFKA_CACHE_DIR"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "evkafka"


def kafka_jars() -> list[Path]:
    """The jars with checked checksums. Jars that are missing or corrupt are downloaded.

    Raises:
        BrokerError: they cannot be downloaded, or their checksums differ from the lock file.
    """
    jars = locked_jars()
    home = cache_dir() / f"kafka-{KAFKA_VERSION}"
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        good = list(pool.map(lambda jar: _sha256(home / jar.name) == jar.sha256, jars))
    if missing := [jar for jar, is_good in zip(jars, good, strict=True) if not is_good]:
        _download(missing, home)
    return [home / jar.name for jar in jars]


def _download(jars: list[Jar], home: Path) -> None:
    """Download each jar into a temporary directory, and move it into the cache if its checksum is right.

    So several processes may start with an empty cache at once: each downloads and moves whole files, which are equal.
    An interrupted download leaves nothing behind.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".download-", dir=home) as scratch,
            _progress_bar(sum(jar.size for jar in jars)) as advance,
        ):
            fetch = _fetcher(Path(scratch), advance)
            pool = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE)
            try:
                for jar, path in zip(jars, pool.map(fetch, jars), strict=True):
                    _check_checksum(jar, path)
                    path.replace(home / jar.name)
            finally:
                pool.shutdown(cancel_futures=True)
    except OSError as error:  # of the directory; `fetch` has translated those of the network
        raise BrokerError(f"Kafka's jars cannot be stored in {home}: {error}") from error


def _fetcher(scratch: Path, advance: Callable[[int], None]) -> Callable[[Jar], Path]:
    """A function that copies one jar into the temporary directory, from the local Maven repository or by download."""
    import requests
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def progress(filename: str, size: int) -> Iterator[Callable[[int], None]]:
        yield advance

    settings = GlobalSettings.load()  # jgo's own configuration may name a company's mirror, which replaces "central"
    maven = MavenContext(
        resolver=PythonResolver(progress_callback=progress),
        repo_cache=scratch,
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
        timeout=20,
    )

    def fetch(jar: Jar) -> Path:
        artifact: Any = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        target: Path = artifact.cached_path
        local = settings.repo_cache / target.relative_to(scratch)
        if _sha256(local) == jar.sha256:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, target)
            advance(jar.size)
            return target
        try:
            downloaded: Path = artifact.resolve()
        except (requests.RequestException, RuntimeError) as error:
            raise BrokerError(
                f"Kafka's jar {jar.name} cannot be downloaded ({_cause(error)}). The first start of a broker needs"
                " internet access, or a Maven mirror under [repositories] in jgo's configuration file"
            ) from error
        return downloaded

    return fetch


def _check_checksum(jar: Jar, path: Path) -> None:
    if (found := _sha256(path)) != jar.sha256:
        raise BrokerError(
            f"the downloaded {jar.name} has an unexpected checksum (sha256 {found}, expected {jar.sha256}) and was"
            " discarded; try again, and if it happens twice, do not trust the mirror or proxy in between"
        )


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _cause(error: BaseException) -> str:
    """The innermost cause: "Connection refused", "Name or service not known"."""
    causes = [error]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(inner)
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextlib.contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if that is a terminal; without rich, one line of text."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    except ImportError:
        print(f"Downloading Apache Kafka {KAFKA_VERSION} ({total / 1e6:.0f} MB), once", file=sys.stderr)
        yield lambda count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"Downloading Apache Kafka {KAFKA_VERSION}, once", total=total)
        lock = threading.Lock()

        def advance(count: int) -> None:
            with lock:
                bar.advance(task, count)

        yield advance
