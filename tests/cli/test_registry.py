"""`evkafka broker --registry` and `evkafka dev --registry` start a schema registry beside Kafka."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

import evkafka.broker
from evkafka.cli.impl import broker as broker_command
from evkafka.cli.impl import dev as dev_command
from evkafka.exceptions import BrokerError, ConfigError
from tests.cli.support import Call

VARIABLE = "EVKAFKA_SCHEMA_REGISTRY_URL"


class FakeServer:
    """Notes its life; `exits` ends one by itself, and the others run until an interrupt."""

    life: ClassVar[list[str]] = []
    exits: ClassVar[set[str]] = set()
    taken: ClassVar[set[int]] = set()
    fails: ClassVar[set[str]] = set()
    name = "server"

    def __init__(self, port: int | None = None, *, data_dir: Path | None = None, **_: Any) -> None:
        self.port, self.data_dir = port or 40000, data_dir

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def start(self) -> FakeServer:
        if self.port in self.taken:
            raise ConfigError(f"port {self.port} of 127.0.0.1 is in use")
        if self.name in self.fails:
            raise BrokerError(f"{self.name} ended while starting")
        self.life.append(f"{self.name} on {self.port}, {self.data_dir}")
        return self

    def wait(self, timeout_s: float) -> bool:
        if self.name not in self.exits and self.name == "registry" and not self.exits:
            raise KeyboardInterrupt
        return self.name in self.exits

    def log_tail(self) -> str:
        return f"the log of {self.name}"

    def stop(self) -> None:
        self.life.append(f"{self.name} stopped")


class FakeKafka(FakeServer):
    name = "Kafka"


class FakeRegistry(FakeServer):
    name = "registry"


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for kept in (FakeServer.life, FakeServer.exits, FakeServer.taken, FakeServer.fails):
        kept.clear()  # type: ignore[attr-defined]
    for module in (evkafka.broker, broker_command):
        monkeypatch.setattr(module, "KafkaBroker", FakeKafka)
        monkeypatch.setattr(module, "LocalRegistry", FakeRegistry)
    monkeypatch.setattr(broker_command, "_interrupt_on_signals", lambda: None)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.chdir(tmp_path)


class TestBroker:
    def test_both_are_started_and_the_registry_stops_first(self, call: Call) -> None:
        ended = call("broker", "--registry")
        assert ended.code == 0
        assert "The schema registry is ready: http://127.0.0.1:8081/apis/ccompat/v7" in ended.out
        assert FakeServer.life == ["Kafka on 9092, None", "registry on 8081, None", "registry stopped", "Kafka stopped"]

    def test_quiet_prints_both_addresses(self, call: Call) -> None:
        ended = call("broker", "--registry", "--quiet", "--registry-port", "8090")
        assert (ended.out, ended.err) == ("127.0.0.1:9092\nhttp://127.0.0.1:8090/apis/ccompat/v7\n", "")

    def test_schemas_are_kept_with_the_topics(self, call: Call) -> None:
        call("broker", "--registry", "--data", "kept")
        assert FakeServer.life[:2] == ["Kafka on 9092, kept", "registry on 8081, kept/registry"]

    def test_a_registry_that_ends_by_itself_ends_the_command_with_its_log(self, call: Call) -> None:
        FakeServer.exits.add("registry")
        ended = call("broker", "--registry", "--quiet")
        assert ended.code == 1
        assert "evkafka: The registry exited. The end of its log:\nthe log of registry" in ended.err
        assert FakeServer.life[-1] == "Kafka stopped"

    def test_kafka_is_stopped_if_the_registry_cannot_start(self, call: Call) -> None:
        FakeServer.fails.add("registry")
        ended = call("broker", "--registry", "--quiet")
        assert (ended.code, ended.err) == (3, "evkafka: registry ended while starting\n")
        assert FakeServer.life[-1] == "Kafka stopped"

    def test_a_taken_port_is_an_error_of_usage(self, call: Call) -> None:
        FakeServer.taken.add(8081)
        assert call("broker", "--registry", "--quiet").code == 2

    def test_there_is_none_without_the_option(self, call: Call) -> None:
        FakeServer.exits.add("Kafka")
        call("broker", "--quiet")
        assert FakeServer.life == ["Kafka on 9092, None", "Kafka stopped"]


class TestDev:
    @pytest.fixture(autouse=True)
    def runs(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "shop.py").touch()
        monkeypatch.setattr(
            dev_command, "run_app", lambda options: FakeServer.life.append(f"app with {os.environ[VARIABLE]}")
        )

    def test_the_app_finds_the_registry_in_the_environment(self, call: Call) -> None:
        ended = call("dev", "shop:app", "--no-reload", "--registry")
        assert ended.code == 0
        assert "The schema registry is ready: http://127.0.0.1:8081/apis/ccompat/v7" in ended.err
        assert FakeServer.life == [
            "Kafka on 9092, None",
            "registry on 8081, None",
            "app with http://127.0.0.1:8081/apis/ccompat/v7",
            "registry stopped",
            "Kafka stopped",
        ]

    def test_another_port_is_used_if_the_usual_one_is_taken(self, call: Call) -> None:
        FakeServer.taken.add(8081)
        call("dev", "shop:app", "--no-reload", "--registry")
        assert "app with http://127.0.0.1:40000/apis/ccompat/v7" in FakeServer.life

    def test_schemas_are_kept_with_the_topics(self, call: Call) -> None:
        call("dev", "shop:app", "--no-reload", "--registry", "--data", "kept")
        assert "registry on 8081, kept/registry" in FakeServer.life

    def test_it_may_run_beside_another_broker(self, call: Call) -> None:
        call("dev", "shop:app", "--no-reload", "--registry", "--bootstrap-servers", "localhost:9192")
        assert FakeServer.life[0] == "registry on 8081, None"

    def test_kafka_is_stopped_if_the_registry_cannot_start(self, call: Call) -> None:
        FakeServer.fails.add("registry")
        assert call("dev", "shop:app", "--no-reload", "--registry").code == 3
        assert FakeServer.life == ["Kafka on 9092, None", "Kafka stopped"]

    def test_there_is_none_without_the_option(self, call: Call) -> None:
        call("dev", "shop:app", "--no-reload")
        assert FakeServer.life == ["Kafka on 9092, None", "app with ", "Kafka stopped"]
