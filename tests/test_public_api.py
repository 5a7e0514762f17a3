"""The names that users import, and a program of theirs that type checkers must accept."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import evkafka

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests" / "typing" / "api.py"


class TestNames:
    def test_every_name_of_all_exists(self) -> None:
        assert [name for name in evkafka.__all__ if not hasattr(evkafka, name)] == []

    def test_the_spelling_of_0_7_names_the_same_class(self) -> None:
        assert evkafka.EVkafkaApp is evkafka.EVKafkaApp

    @pytest.mark.parametrize(
        ("module", "names"),
        [
            ("evkafka.config", ["ConsumerConfig", "ProducerConfig", "BrokerConfig", "TopicConfig", "ErrorPolicy"]),
            ("evkafka.middleware", ["Middleware", "JsonTypedDecoderMiddleware"]),
            ("evkafka.exceptions", ["EVKafkaError", "ConfigError", "UnsupportedValueError", "DeliveryError"]),
            ("evkafka.context", ["Context", "HandlerApp"]),
            ("evkafka.state", ["State"]),
            ("evkafka.types", []),
        ],
    )
    def test_the_modules_that_users_import_have_their_names(self, module: str, names: list[str]) -> None:
        imported = importlib.import_module(module)
        assert [name for name in names if not hasattr(imported, name)] == []


class TestErrorsOfARunningApp:
    @pytest.mark.parametrize("error", [evkafka.StartFailed, evkafka.StopApp, evkafka.ForcedExit, evkafka.BrokerError])
    def test_are_evkafka_errors(self, error: type[Exception]) -> None:
        assert issubclass(error, evkafka.EVKafkaError)


class TestTypes:
    def test_mypy_strict_accepts_a_users_program(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", str(PROGRAM)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    @pytest.mark.skipif(shutil.which("node") is None, reason="pyright runs on node, which is not installed")
    def test_pyright_accepts_a_users_program(self) -> None:
        pytest.importorskip("pyright")
        done = subprocess.run(
            [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(PROGRAM)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
