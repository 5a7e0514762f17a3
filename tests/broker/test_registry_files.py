"""The registry's archive: downloaded, checked and unpacked once."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from evkafka.broker import registry_files
from evkafka.broker.registry_files import ARCHIVE, RUNNER, ensure_registry_jar
from evkafka.exceptions import BrokerError
from tests.support.maven_repository import MavenRepository

FILES = {RUNNER: b"runner", "lib/one.jar": b"one", "LICENSE": b"text"}


def archive_of(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()


@pytest.fixture
def offered(repository: MavenRepository, cache: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small archive, which the repository has, and the code expects."""
    content = archive_of(FILES)
    small = replace(ARCHIVE, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(registry_files, "ARCHIVE", small)
    repository.offer(small, content)
    return content


class TestInstallation:
    def test_the_archive_is_downloaded_and_unpacked_once(
        self, offered: bytes, repository: MavenRepository, cache: Path
    ) -> None:
        jar = ensure_registry_jar()
        assert (jar.name, jar.read_bytes()) == (RUNNER, b"runner")
        assert (jar.parent / "lib" / "one.jar").read_bytes() == b"one"
        asked = len(repository.asked)
        assert ensure_registry_jar() == jar
        assert len(repository.asked) == asked

    def test_only_the_unpacked_files_are_kept(self, offered: bytes, cache: Path) -> None:
        home = ensure_registry_jar().parents[1]
        assert [path.name for path in home.iterdir()] == ["files"]

    @pytest.mark.parametrize("damage", ["changed", "missing", "no sums"])
    def test_damaged_files_are_downloaded_again(self, offered: bytes, cache: Path, damage: str) -> None:
        files = ensure_registry_jar().parent
        match damage:
            case "changed":
                (files / "lib" / "one.jar").write_bytes(b"two")
            case "missing":
                (files / "lib" / "one.jar").unlink()
            case _:
                (files / "sums.json").write_text("{")
        assert (ensure_registry_jar().parent / "lib" / "one.jar").read_bytes() == b"one"

    def test_files_that_another_process_has_unpacked_meanwhile_are_kept(
        self, offered: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jar = ensure_registry_jar()
        answers = iter([False])  # the first look is before the other process has finished
        intact = registry_files._are_unpacked_files_intact
        monkeypatch.setattr(
            registry_files, "_are_unpacked_files_intact", lambda files: next(answers, None) is None and intact(files)
        )
        before = jar.stat().st_ino
        assert ensure_registry_jar().stat().st_ino == before

    def test_names_that_lead_out_of_the_directory_are_not_unpacked(
        self, repository: MavenRepository, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = archive_of({**FILES, "../../evil": b"evil", "/tmp/evil-of-evkafka": b"evil"})
        bad = replace(ARCHIVE, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(registry_files, "ARCHIVE", bad)
        repository.offer(bad, content)
        ensure_registry_jar()
        assert not list(cache.rglob("evil*"))
        assert not Path("/tmp/evil-of-evkafka").exists()


class TestRefusal:
    def test_another_checksum(self, offered: bytes, repository: MavenRepository) -> None:
        repository.offer(ARCHIVE, b"evil")
        with pytest.raises(BrokerError, match=r"the downloaded .*-all\.tar\.gz has an unexpected checksum"):
            ensure_registry_jar()

    def test_no_network_is_one_sentence(self, offered: bytes, repository: MavenRepository) -> None:
        repository.close()
        with pytest.raises(BrokerError) as refused:
            ensure_registry_jar()
        assert str(refused.value).startswith(
            f"the schema registry's archive {ARCHIVE.name} cannot be downloaded (Connection refused). The first start"
            " of a registry needs internet access"
        )

    def test_a_full_disk_is_known_before_the_download(
        self, offered: bytes, repository: MavenRepository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10_000_000))
        with pytest.raises(BrokerError, match="but 10 MB are free: free some space, or set EVKAFKA_CACHE_DIR"):
            ensure_registry_jar()
        assert repository.asked == []

    def test_a_cache_that_cannot_be_written(self, offered: bytes, cache: Path) -> None:
        cache.touch()
        with pytest.raises(BrokerError, match="the schema registry's files cannot be stored in"):
            ensure_registry_jar()
