"""`evkafka new`: what it makes passes its own tests, and is in order by every tool that we have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evkafka.cli.new import make_service
from evkafka.exceptions import ConfigError
from tests.cli.support import ROOT, environment, evkafka, said


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("new")
    ended = evkafka(directory, "new", "order-mailer")
    assert ended.returncode == 0, ended.stderr
    assert "evkafka dev order_mailer.main:app" in ended.stdout
    return directory / "order-mailer"


def run(service: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=service,
        env=environment(PYTHONPATH=f"src:{ROOT / 'src'}"),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_its_tests_pass(service: Path) -> None:
    ended = run(service, "pytest", "-q", "-p", "no:cacheprovider")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 passed" in ended.stdout


def test_it_is_formatted_and_has_no_lint(service: Path) -> None:
    assert run(service, "ruff", "check", "--select", "E,F,I,UP,B", "--line-length", "120", ".").returncode == 0
    formatted = run(service, "ruff", "format", "--check", "--line-length", "120", ".")
    assert formatted.returncode == 0, formatted.stdout


def test_check_finds_nothing(service: Path) -> None:
    ended = run(service, "evkafka.cli", "check", "order_mailer.main:app", "--app-dir", "src", "--no-broker", "--strict")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_its_manifests_fit_its_app(service: Path) -> None:
    [stateful] = yaml.safe_load_all((service / "deploy" / "deployment.yaml").read_text())
    pod = stateful["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] >= 25  # the drain, and the steps behind it
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert pod["securityContext"]["runAsNonRoot"] is True
    texts = [path for path in service.rglob("*") if path.is_file() and "cache" not in str(path)]
    assert not [path for path in texts if "__package__" in path.read_text()]


def test_what_is_there_is_not_overwritten(service: Path) -> None:
    assert "is there already" in said(evkafka(service.parent, "new", "order-mailer"), 2)


def test_a_name_that_no_package_can_have(tmp_path: Path) -> None:
    assert "cannot be the name of a package" in said(evkafka(tmp_path, "new", "class"), 2)
    for name in ("1st", "a b", "größe"):
        with pytest.raises(ConfigError, match="cannot be the name of a package"):
            make_service(name, tmp_path)
