"""Downloads of Kafka's jars from a local HTTP server that replaces the Maven repository."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from evkafka.broker import jars
from evkafka.broker.jars import KAFKA_VERSION, ensure_kafka_jars, read_lock_file
from evkafka.broker.maven import MavenFile
from evkafka.exceptions import BrokerError


def jar(artifact: str, content: bytes) -> MavenFile:
    return MavenFile("org.example", artifact, "1.0", len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def home(cache: Path) -> Path:
    return cache / f"kafka-{KAFKA_VERSION}"


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[MavenFile]:
    """The lock file of these tests: two small jars."""
    two = [jar("one", b"1" * 1000), jar("two", b"2" * 1000)]
    monkeypatch.setattr(jars, "read_lock_file", lambda: two)
    return two


class TestLockFile:
    def test_lists_each_jar_once_with_its_checksum(self):
        locked = read_lock_file()
        assert len(locked) == 46
        assert len({one.name for one in locked}) == 46
        assert all(len(one.sha256) == 64 and one.size > 0 for one in locked)

    def test_has_one_version_of_kafka(self):
        assert {one.version for one in read_lock_file() if one.group == "org.apache.kafka"} == {KAFKA_VERSION}


class TestDownload:
    def test_fetches_missing_jars_once(self, home, locked, repository):
        repository.offer(locked[0], b"1" * 1000)
        repository.offer(locked[1], b"2" * 1000)
        paths = ensure_kafka_jars()
        assert [path.read_bytes()[:1] for path in paths] == [b"1", b"2"]
        asked = len(repository.asked)
        assert ensure_kafka_jars() == paths
        assert len(repository.asked) == asked

    def test_replaces_only_a_corrupt_jar(self, home, locked, repository):
        repository.offer(locked[0], b"1" * 1000)
        home.mkdir(parents=True)
        (home / locked[0].name).write_bytes(b"1" * 500)
        (home / locked[1].name).write_bytes(b"2" * 1000)
        ensure_kafka_jars()
        assert (home / locked[0].name).read_bytes() == b"1" * 1000
        assert {path.rpartition("/")[2].removesuffix(".sha1") for path in repository.asked} == {locked[0].name}

    def test_copies_jars_from_the_local_maven_repository(self, home, locked, repository, tmp_path):
        for one, content in zip(locked, (b"1" * 1000, b"2" * 1000), strict=True):
            at_hand = tmp_path / "m2" / "org" / "example" / one.artifact / "1.0" / one.name
            at_hand.parent.mkdir(parents=True)
            at_hand.write_bytes(content)
        ensure_kafka_jars()
        assert repository.asked == []

    def test_leaves_no_temporary_files(self, home, locked, repository):
        repository.offer(locked[0], b"1" * 1000)
        with pytest.raises(BrokerError):
            ensure_kafka_jars()
        assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []


class TestRefusal:
    def test_content_with_another_checksum_is_not_kept(self, home, locked, repository, caplog):
        repository.offer(locked[0], b"evil" * 250)
        repository.offer(locked[1], b"2" * 1000)
        with pytest.raises(BrokerError, match=r"one-1\.0\.jar has an unexpected checksum \(sha256 "):
            ensure_kafka_jars()
        assert not (home / locked[0].name).exists()

    def test_jar_that_the_repository_does_not_have(self, home, locked):
        with pytest.raises(BrokerError, match=r"one-1\.0\.jar cannot be downloaded"):
            ensure_kafka_jars()

    def test_no_network_is_one_sentence(self, home, locked, repository):
        repository.close()
        with pytest.raises(BrokerError) as refused:
            ensure_kafka_jars()
        message = str(refused.value)
        assert message.startswith("Kafka's jar one-1.0.jar cannot be downloaded (Connection refused). ")
        assert "\n" not in message

    def test_cache_that_cannot_be_written(self, home, locked, tmp_path):
        (tmp_path / "cache").touch()
        with pytest.raises(BrokerError, match="cannot be stored in"):
            ensure_kafka_jars()

    def test_lock_entries_are_checked_as_they_are(self, home, locked, repository, monkeypatch):
        repository.offer(locked[0], b"1" * 1000)
        monkeypatch.setattr(jars, "read_lock_file", lambda: [replace(locked[0], sha256="0" * 64)])
        with pytest.raises(BrokerError, match="expected 0000"):
            ensure_kafka_jars()
