"""`evkafka dev` finds mistakes before it starts Kafka."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evkafka.cli.app_loader import check_module_exists
from evkafka.exceptions import ConfigError
from tests.cli.support import Call

STARTING = "Starting Apache Kafka"


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def uninstall(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


class TestExtras:
    def test_all_missing_ones_are_named_at_once(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shop.py").touch()
        uninstall(monkeypatch, "jgo", "watchfiles", "starlette")
        ended = call("dev", "shop:app")
        assert ended.code == 2
        assert "pip install 'evkafka[broker,reload,web]', or use --bootstrap-servers and --no-reload" in ended.err
        assert STARTING not in ended.err

    def test_those_of_parts_that_are_turned_off_are_not_needed(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shop.py").touch()
        uninstall(monkeypatch, "jgo", "watchfiles", "starlette")
        ended = call("dev", "shop:app", "--no-reload", "--no-web")
        assert "pip install 'evkafka[broker]', or use --bootstrap-servers" in ended.err


class TestTheTarget:
    @pytest.mark.parametrize("options", [(), ("--no-reload",)])
    def test_that_does_not_exist_ends_the_command(self, call: Call, options: tuple[str, ...]) -> None:
        ended = call("dev", "billing:app", *options)
        assert ended.code == 2
        assert "no module 'billing' in" in ended.err
        assert STARTING not in ended.err

    def test_that_does_not_exist_ends_a_reloading_run_too(self, call: Call) -> None:
        ended = call("run", "--reload", "billing:app")
        assert ended.code == 2
        assert "no module 'billing' in" in ended.err

    def test_a_directory_to_watch_must_exist(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "shop.py").touch()
        ended = call("dev", "shop:app", "--reload-dir", "elsewhere")
        assert ended.code == 2
        assert STARTING not in ended.err


class TestAModule:
    def test_is_found_without_importing_it(self, tmp_path: Path) -> None:
        (tmp_path / "shop_unread").mkdir()
        (tmp_path / "shop_unread" / "__init__.py").write_text("raise AssertionError")
        (tmp_path / "shop_unread" / "main.py").write_text("not Python")
        check_module_exists("shop_unread.main:app", tmp_path)
        with pytest.raises(ConfigError, match=r"no module 'shop_unread\.mian' .*: did you mean 'shop_unread\.main'"):
            check_module_exists("shop_unread.mian:app", tmp_path)

    def test_may_be_in_a_package_without_init(self, tmp_path: Path) -> None:
        (tmp_path / "services_unread").mkdir()
        (tmp_path / "services_unread" / "shop.py").touch()
        check_module_exists("services_unread.shop:app", tmp_path)

    def test_may_be_installed(self, tmp_path: Path) -> None:
        check_module_exists("evkafka.app:app", tmp_path)

    def test_has_no_modules_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "shop_unread.py").touch()
        with pytest.raises(ConfigError, match=r"no module 'shop_unread\.main'"):
            check_module_exists("shop_unread.main:app", tmp_path)
