"""Passwords of the broker's users are in no file that others can read, and on no command line."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.broker import broker as broker_module
from evkafka.broker.process import ChildProcess
from evkafka.broker.properties import format_arguments_file, write_private_file

PASSWORD = 'hunter2-"planted"\\x'


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestFiles:
    def test_can_be_read_by_their_owner_only(self, tmp_path: Path) -> None:
        write_private_file(tmp_path / "new", "a")
        assert mode(tmp_path / "new") == 0o600

    def test_that_others_could_read_before_become_private(self, tmp_path: Path) -> None:
        old = tmp_path / "old"
        old.write_text("a longer text than the new one")
        old.chmod(0o644)
        write_private_file(old, "b")
        assert (mode(old), old.read_text()) == (0o600, "b")


def test_arguments_for_java_are_quoted() -> None:
    assert format_arguments_file(["-cp", 'a b"c\\d']) == '"-cp"\n"a b\\"c\\\\d"\n'


def test_a_user_s_password_is_on_no_command_line_and_in_no_file_that_others_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    class Noted(ChildProcess):
        def __init__(self, command: Any, log: Path) -> None:
            commands.append(list(command))
            super().__init__(command, log)

    monkeypatch.setattr(broker_module, "ChildProcess", Noted)
    home = tmp_path / "data"
    with KafkaBroker(data_dir=home, scram_users={"ann": PASSWORD}, properties={"ssl.key.password": PASSWORD}):
        assert len(commands) == 2
        assert not any("hunter2" in word for command in commands for word in command)
        assert mode(home) == 0o700
        for name in ("server.properties", "log4j2.properties", "broker.log"):
            assert mode(home / name) == 0o600
        assert not (home / "format.arguments").exists()
