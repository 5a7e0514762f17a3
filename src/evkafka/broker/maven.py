"""Downloads files of the Maven repository into the user's cache directory, and checks their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evkafka.exceptions import BrokerError

DOWNLOADS_AT_ONCE = 6


@dataclass(frozen=True, slots=True)
class MavenFile:
    """A file, with the checksum that it must have."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str
    packaging: str = "jar"
    classifier: str = ""

    @property
    def name(self) -> str:
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.{self.packaging}"


@dataclass(frozen=True, slots=True)
class Product:
    """What is downloaded, for messages.

    Attributes:
        title: with its version: "Apache Kafka 4.2.0".
        file, files: one file, and all of them: "Kafka's jar", "Kafka's jars".
        server: what needs them: "a broker".
    """

    title: str
    file: str
    files: str
    server: str


def cache_dir() -> Path:
    """`$EVKAFKA_CACHE_DIR`, or `evkafka` in the user's cache directory."""
    if given := os.environ.get("EVKAFKA_CACHE_DIR"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "evkafka"


def sha256_of(path: Path) -> str | None:
    """None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def download_files(files: Sequence[MavenFile], home: Path, product: Product) -> None:
    """Download each file into a temporary directory, and move it into `home` if its checksum is right.

    So several processes may start with an empty cache at once: each downloads and moves whole files, which are equal.
    An interrupted download leaves nothing behind.

    Raises:
        BrokerError: one cannot be downloaded or stored, or has another checksum.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".download-", dir=home) as scratch,
            _show_download_progress(product, sum(file.size for file in files)) as advance,
        ):
            fetch = _create_copy_or_download_function(Path(scratch), product, advance)
            pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE)
            try:
                for file, path in zip(files, pool.map(fetch, files), strict=True):
                    _check_checksum(file, path)
                    path.replace(home / file.name)
            finally:
                pool.shutdown(cancel_futures=True)
    except OSError as error:  # of the directory; `fetch` has translated those of the network
        raise BrokerError(f"{product.files} cannot be stored in {home}: {error}") from error


def _create_copy_or_download_function(
    scratch: Path, product: Product, advance: Callable[[int], None]
) -> Callable[[MavenFile], Path]:
    """A function that copies one file into the temporary directory, from the local Maven repository or by download."""
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

    def fetch(file: MavenFile) -> Path:
        component = maven.project(file.group, file.artifact).at_version(file.version)
        artifact: Any = component.artifact(file.classifier, file.packaging)
        target: Path = artifact.cached_path
        local = settings.repo_cache / target.relative_to(scratch)
        if sha256_of(local) == file.sha256:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, target)
            advance(file.size)
            return target
        try:
            downloaded: Path = artifact.resolve()
        except (requests.RequestException, RuntimeError) as error:
            raise BrokerError(
                f"{product.file} {file.name} cannot be downloaded ({_describe_innermost_cause(error)}). The first start"
                f" of {product.server} needs internet access, or a Maven mirror under [repositories] in jgo's"
                " configuration file"
            ) from error
        return downloaded

    return fetch


def _check_checksum(file: MavenFile, path: Path) -> None:
    if (found := sha256_of(path)) != file.sha256:
        raise BrokerError(
            f"the downloaded {file.name} has an unexpected checksum (sha256 {found}, expected {file.sha256}) and was"
            " discarded; try again, and if it happens twice, do not trust the mirror or proxy in between"
        )


def _describe_innermost_cause(error: BaseException) -> str:
    """The innermost cause: "Connection refused", "Name or service not known"."""
    causes = [error]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(inner)
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextlib.contextmanager
def _show_download_progress(product: Product, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if that is a terminal; without rich, one line of text."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    except ImportError:
        print(f"Downloading {product.title} ({total / 1e6:.0f} MB), once", file=sys.stderr)
        yield lambda count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"Downloading {product.title}, once", total=total)
        lock = threading.Lock()

        def advance(count: int) -> None:
            with lock:
                bar.advance(task, count)

        yield advance
