"""How the commands of the page name the app."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from evkafka import EVKafkaApp
from evkafka.cli.impl.run_options import RunOptions
from evkafka.ui.app_option import UNKNOWN, app_option_text


def test_is_that_of_the_command_that_started_it() -> None:
    app = EVKafkaApp()
    app.started_as = "--app shop:app"
    assert app_option_text(app) == "--app shop:app"


def test_is_found_in_an_imported_module(monkeypatch: pytest.MonkeyPatch) -> None:
    app, module = EVKafkaApp(), ModuleType("shop.main")
    monkeypatch.setattr(module, "service", app, raising=False)
    monkeypatch.setitem(sys.modules, "shop.main", module)
    assert app_option_text(app) == "--app shop.main:service"


@pytest.mark.parametrize(
    ("spec", "file", "found"),
    [(None, "/srv/shop.py", "--app shop:app"), (ModuleSpec("shop.main", None), "/srv/x.py", "--app shop.main:app")],
)
def test_is_found_in_the_program_itself(
    monkeypatch: pytest.MonkeyPatch, spec: ModuleSpec | None, file: str, found: str
) -> None:
    app, module = EVKafkaApp(), ModuleType("__main__")
    for name, value in (("app", app), ("__spec__", spec), ("__file__", file)):
        monkeypatch.setattr(module, name, value, raising=False)
    monkeypatch.setitem(sys.modules, "__main__", module)
    assert app_option_text(app) == found


def test_is_a_placeholder_for_an_app_without_a_name() -> None:
    assert app_option_text(EVKafkaApp()) == UNKNOWN


def test_has_the_options_of_the_command_line() -> None:
    assert RunOptions("shop:app").app_options_for_other_commands == "--app shop:app"
    options = RunOptions("shop:make", app_dir=Path("my src"), factory=True)
    assert options.app_options_for_other_commands == "--app shop:make --app-dir 'my src' --factory"
