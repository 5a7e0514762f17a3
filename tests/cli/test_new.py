"""`evkafka new`: the new service passes its own tests, our linters and `evkafka check`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evkafka.cli.impl.new import create_service
from evkafka.exceptions import ConfigError
from tests.cli.support import ROOT, environment, evkafka, stderr_of


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


def test_its_group_is_set_in_one_place(service: Path) -> None:
    places = [
        path.name
        for path in service.rglob("*")
        if path.suffix in (".py", ".toml", ".yaml")
        and re.search(r"group_id\W+order-mailer", path.read_text(), re.IGNORECASE)
    ]
    assert places == ["main.py"]


def test_its_manifests_fit_its_app(service: Path) -> None:
    [stateful] = yaml.safe_load_all((service / "deploy" / "deployment.yaml").read_text())
    pod = stateful["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] >= 25  # the drain, and the steps behind it
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert pod["securityContext"]["runAsNonRoot"] is True
    texts = [path for path in service.rglob("*") if path.is_file() and "cache" not in str(path)]
    assert not [path for path in texts if "__package__" in path.read_text()]


def steps_of_image(service: Path) -> str:
    [install] = re.findall(r"^RUN (python -m venv /venv && .+)$", (service / "Dockerfile").read_text(), re.MULTILINE)
    return str(install)


@pytest.mark.long
class TestImage:
    """What its Dockerfile does, done by hand."""

    def test_out_of_a_vendored_wheel_it_is_whole(self, service: Path, tmp_path: Path) -> None:
        build, venv = tmp_path / "build", tmp_path / "venv"
        shutil.copytree(service, build)
        wheel = ["-m", "pip", "wheel", "-q", "--no-deps", "-w", str(build / "vendor"), str(ROOT)]
        subprocess.run([sys.executable, *wheel], check=True, timeout=120)
        install = steps_of_image(service).replace("/venv", str(venv)).replace("python -m", f"{sys.executable} -m", 1)
        subprocess.run(["bash", "-c", install], cwd=build, check=True, timeout=300)
        (tmp_path / "app").mkdir()
        shutil.copy(build / "pyproject.toml", tmp_path / "app")
        ended = subprocess.run(
            [str(venv / "bin" / "evkafka"), "check", "--no-broker"],
            cwd=tmp_path / "app",
            env=environment(EVKAFKA_APP="order_mailer.main:app"),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def test_without_the_wheel_the_old_package_of_that_name_is_not_taken(self, service: Path, tmp_path: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=240)
        ended = subprocess.run(
            [str(tmp_path / "venv/bin/pip"), "install", "-q", "--find-links", "vendor", "."],
            cwd=service,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ended.returncode == 1
        assert "No matching distribution found for evkafka" in ended.stderr


def test_existing_files_are_not_overwritten(service: Path) -> None:
    assert "exists already" in stderr_of(evkafka(service.parent, "new", "order-mailer"), 2)


def test_a_name_that_no_package_can_have(tmp_path: Path) -> None:
    assert "cannot be the name of a package" in stderr_of(evkafka(tmp_path, "new", "class"), 2)
    for name in ("1st", "a b", "größe"):
        with pytest.raises(ConfigError, match="cannot be the name of a package"):
            create_service(name, tmp_path)


def test_a_service_with_avro_passes_its_tests(tmp_path: Path) -> None:
    ended = evkafka(tmp_path, "new", "order-mailer", "--format", "avro")
    assert "evkafka dev order_mailer.main:app --registry" in ended.stdout
    service = tmp_path / "order-mailer"
    tests = run(service, "pytest", "-q", "-p", "no:cacheprovider")
    assert "3 passed" in tests.stdout, tests.stdout + tests.stderr
    assert "settings,avro]" in (service / "pyproject.toml").read_text()
