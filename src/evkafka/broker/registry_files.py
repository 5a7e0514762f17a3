"""The files of Apicurio Registry: its archive is downloaded and unpacked once per user, and checked at every start."""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evkafka.broker.maven import DOWNLOADS_AT_ONCE, MavenFile, Product, cache_dir, download_files, sha256_of
from evkafka.exceptions import BrokerError

REGISTRY_VERSION = "3.3.3"
ARCHIVE = MavenFile(
    "io.apicurio",
    "apicurio-registry-app",
    REGISTRY_VERSION,
    158_577_952,
    "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63",
    packaging="tar.gz",
    classifier="all",
)
RUNNER = "quarkus-run.jar"
REGISTRY = Product(
    title=f"Apicurio Registry {REGISTRY_VERSION}",
    file="the schema registry's archive",
    files="the schema registry's files",
    server="a registry",
)

SUMS = "sums.json"
"""The checksums of the unpacked files, beside them."""

NEEDED_BYTES = 400_000_000
"""Free space for the archive and the unpacked files."""


def ensure_registry_jar() -> Path:
    """The jar that Java runs. Missing or corrupt files are downloaded.

    Raises:
        BrokerError: there is no space for them, they cannot be downloaded, or the archive has another checksum.
    """
    home = cache_dir() / f"apicurio-registry-{REGISTRY_VERSION}"
    files = home / "files"
    if not _are_unpacked_files_intact(files):
        _download_and_unpack_files(home, files)
    return files / RUNNER


def _are_unpacked_files_intact(files: Path) -> bool:
    try:
        sums: dict[str, str] = json.loads((files / SUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        found = pool.map(lambda name: sha256_of(files / name), sums)
        return list(found) == list(sums.values())


def _download_and_unpack_files(home: Path, files: Path) -> None:
    """Download the archive, and unpack it into a directory that then gets its name.

    So several processes may start with an empty cache at once, and an interrupted one leaves no half of the files.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        _check_space(home)
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=home) as scratch:
            archive, unpacked = Path(scratch) / ARCHIVE.name, Path(scratch) / "files"
            download_files([ARCHIVE], archive.parent, REGISTRY)
            _unpack_archive(archive, unpacked)
            _move_directory_into_place(files, unpacked)
    except (OSError, tarfile.TarError) as error:
        raise BrokerError(f"{REGISTRY.files} cannot be stored in {home}: {error}") from error


def _check_space(home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < NEEDED_BYTES:
        raise BrokerError(
            f"{REGISTRY.files} need {NEEDED_BYTES / 1e6:.0f} MB in {home}, but {free / 1e6:.0f} MB are free: free some"
            " space, or set EVKAFKA_CACHE_DIR to a directory on another disk"
        )


def _unpack_archive(archive: Path, target: Path) -> None:
    """Unpack the regular files, and write their checksums."""
    target.mkdir()
    names = []
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            path = target / member.name
            if content is None or not path.resolve().is_relative_to(target.resolve()):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
            names.append(path.relative_to(target).as_posix())
    sums = {name: sha256_of(target / name) for name in names}
    (target / SUMS).write_text(json.dumps(sums), encoding="utf-8")


def _move_directory_into_place(files: Path, unpacked: Path) -> None:
    """Give the new directory its name. If another process was faster, its files stay."""
    with contextlib.suppress(OSError):
        unpacked.rename(files)
    if not _are_unpacked_files_intact(files):
        shutil.rmtree(files, ignore_errors=True)
        unpacked.rename(files)
