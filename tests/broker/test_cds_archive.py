"""The archive of Kafka's classes is created once and used after that, and no failure of it prevents a start."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from evkafka.broker import cds_archive as archive
from evkafka.broker.cds_archive import ClassArchive
from evkafka.broker.jars import KAFKA_VERSION
from evkafka.broker.maven import cache_dir

WRITES = '#!/bin/sh\nfor word in "$@"; do case $word in -XX:SharedArchiveFile=*) echo made > ${word#*=};; esac; done\n'
FAILS = "#!/bin/sh\necho it cannot be done; exit 1\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVKAFKA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / f"kafka-{KAFKA_VERSION}" / "classes"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def archive_of(tmp_path: Path, java: str = WRITES, *options: str) -> ClassArchive:
    (tmp_path / "java").write_text(java)
    (tmp_path / "java").chmod(0o755)
    os.utime(tmp_path / "java", ns=(1, 1))
    return ClassArchive(tmp_path / "java", [], ["-XX:+UseSerialGC", *options])


def recorded(one: ClassArchive, home: Path, classes: int = 9_000) -> None:
    [option] = one.options_to_record_class_list(home)
    Path(option.partition("=")[2]).write_text("java/lang/Object\n" * classes)
    one.keep_class_list(home)


class TestTheArchive:
    def test_is_created_from_the_class_list_of_the_first_start(self, cache: Path, home: Path, tmp_path: Path) -> None:
        one = archive_of(tmp_path)
        one.create()
        assert one.options() == []
        recorded(one, home)
        assert not list(home.iterdir())
        assert one.options() == one.options_to_record_class_list(home) == []
        one.create()
        assert one.options() == [f"-XX:SharedArchiveFile={one.file}", "-Xshare:auto"]
        assert one.options_to_record_class_list(home) == []
        assert one.file.read_text() == "made\n"

    def test_is_not_created_from_the_list_of_a_kafka_that_did_not_start(
        self, cache: Path, home: Path, tmp_path: Path
    ) -> None:
        one = archive_of(tmp_path)
        recorded(one, home, classes=100)
        assert one.options_to_record_class_list(home)

    def test_is_not_tried_again_if_java_cannot_create_it(self, cache: Path, home: Path, tmp_path: Path) -> None:
        one = archive_of(tmp_path, FAILS)
        recorded(one, home)
        one.create()
        one.create()
        assert one.options() == one.options_to_record_class_list(home) == []
        assert "it cannot be done" in one.file.with_suffix(".log").read_text()

    def test_is_created_by_one_process_while_the_others_start_without(
        self, cache: Path, home: Path, tmp_path: Path
    ) -> None:
        one = archive_of(tmp_path)
        recorded(one, home)
        lock = one.file.with_suffix(".making")
        lock.touch()
        one.create()
        assert one.options() == []
        long_ago = time.time() - 3 * archive.CREATION_S
        os.utime(lock, (long_ago, long_ago))  # its maker was killed
        one.create()
        assert one.options()
        assert not lock.exists()

    def test_is_the_same_for_all_heap_sizes_and_differs_by_garbage_collector(self, cache: Path, tmp_path: Path) -> None:
        assert archive_of(tmp_path, WRITES, "-Xmx1g").file == archive_of(tmp_path, WRITES, "-Xmx2g").file
        assert archive_of(tmp_path, WRITES, "-XX:+UseG1GC").file != archive_of(tmp_path).file

    def test_is_not_needed_if_the_cache_cannot_be_written(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("EVKAFKA_CACHE_DIR", str(tmp_path / "file"))
        one = archive_of(tmp_path)
        recorded(one, home)
        one.create()
        assert one.options() == []


@pytest.mark.long
@pytest.mark.kafka
def test_a_real_kafka_starts_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KafkaBroker():
        jars = cache_dir() / f"kafka-{KAFKA_VERSION}"
    own = tmp_path / f"kafka-{KAFKA_VERSION}"
    own.mkdir()
    for jar in jars.glob("*.jar"):
        (own / jar.name).symlink_to(jar)
    monkeypatch.setenv("EVKAFKA_CACHE_DIR", str(tmp_path))
    for made in (0, 1, 1):
        with KafkaBroker() as broker:
            assert len(list(own.glob("classes/*.jsa"))) == made
            assert "cds" not in broker.log_tail(1000)
    assert not list(own.glob("classes/*.failed"))
