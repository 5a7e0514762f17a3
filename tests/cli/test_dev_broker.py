"""The other commands find the broker that `evkafka dev` has started."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evkafka.cli.connection import find_cluster_by_options, load_app_redirected_to_dev_broker, load_env_file_and_app
from evkafka.cli.dev_broker import (
    REGISTRY_VARIABLE,
    does_app_option_connect_to_servers,
    find_and_print_dev_broker_address,
    write_broker_port_file,
    write_registry_port_file,
)
from evkafka.cli.options import AppOptions, ClusterOptions
from evkafka.config import producer_settings
from tests.support.ports import closed_port

CONFIGURED = ["localhost:9092"]
TARGET = "shop_of_dev:app"

APP = """
from evkafka import EVKafkaApp, Handler, Sender

handler, sender = Handler(), Sender()
login = {{"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN",
         "sasl_plain_username": "shop", "sasl_plain_password": "secret"}}

@handler.event("OrderPlaced")
async def on_order(order: dict) -> None: ...

app = EVKafkaApp()
app.add_consumer({{"topics": ["orders"], "group_id": "shop", "bootstrap_servers": "{servers}", **login}}, handler)
app.add_producer({{"bootstrap_servers": "{servers}", **login}}, sender)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVKAFKA_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def port() -> Iterator[int]:
    """The port of something that accepts connections, as a broker does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def write_app(directory: Path, servers: str) -> AppOptions:
    (directory / "shop_of_dev.py").write_text(APP.format(servers=servers))
    return AppOptions(TARGET, directory)


@pytest.fixture(autouse=True)
def forget_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shop_of_dev", raising=False)


class TestAnApp:
    def test_connects_to_the_broker_of_dev_without_its_login(self, tmp_path: Path, port: int) -> None:
        options = write_app(tmp_path, "localhost:9092")
        with write_broker_port_file(TARGET, tmp_path, port):
            app = load_app_redirected_to_dev_broker(options)
        [consumer], [producer] = app.consumers.values(), app.producers.values()
        for connection in (consumer.settings.connection, producer_settings(producer.config).connection):
            assert connection.bootstrap_servers == (f"127.0.0.1:{port}",)
            assert "sasl_plain_username" not in connection.options

    def test_that_names_another_machine_stays_there(self, tmp_path: Path, port: int) -> None:
        options = write_app(tmp_path, "localhost:9092,kafka.example.com:9092")
        with write_broker_port_file(TARGET, tmp_path, port):
            [consumer] = load_app_redirected_to_dev_broker(options).consumers.values()
        assert consumer.settings.connection.bootstrap_servers == ("localhost:9092", "kafka.example.com:9092")

    def test_gives_its_cluster_to_a_command(self, tmp_path: Path, port: int) -> None:
        write_app(tmp_path, "localhost:9092")
        with write_broker_port_file(TARGET, tmp_path, port):
            found = find_cluster_by_options(ClusterOptions(app=TARGET, app_dir=tmp_path), topic="orders")
        assert found.connection.bootstrap_servers == (f"127.0.0.1:{port}",)

    @pytest.mark.parametrize(
        ("servers", "reached"),
        [("localhost:9092", True), ("127.0.0.1:9092", True), ("localhost:9093", False), ("kafka.example:9092", False)],
    )
    def test_is_reached_with_app_at_the_address_that_it_names(
        self, tmp_path: Path, servers: str, reached: bool
    ) -> None:
        app = load_env_file_and_app(write_app(tmp_path, "localhost:9092"))
        assert does_app_option_connect_to_servers(app, servers, TARGET, tmp_path) is reached

    def test_is_reached_with_app_at_the_broker_of_dev_and_nothing_is_printed(
        self, tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        app = load_env_file_and_app(write_app(tmp_path, "localhost:9092"))
        with write_broker_port_file(TARGET, tmp_path, port):
            assert does_app_option_connect_to_servers(app, f"127.0.0.1:{port}", TARGET, tmp_path)
            assert not does_app_option_connect_to_servers(app, "localhost:9092", TARGET, tmp_path)
        assert capsys.readouterr().err == ""

    def test_of_another_machine_is_not_reached_with_app(self, tmp_path: Path, port: int) -> None:
        app = load_env_file_and_app(write_app(tmp_path, "kafka.example:9092"))
        with write_broker_port_file(TARGET, tmp_path, port):
            assert not does_app_option_connect_to_servers(app, f"127.0.0.1:{port}", TARGET, tmp_path)


class TestTheAddress:
    def test_is_that_of_the_running_dev_and_is_printed(
        self, tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with write_broker_port_file(TARGET, tmp_path, port):
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path, TARGET) == f"127.0.0.1:{port}"
        assert capsys.readouterr().err == f"evkafka: using the broker of `evkafka dev`: 127.0.0.1:{port}\n"

    def test_is_unchanged_if_dev_has_the_configured_port(
        self, tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with write_broker_port_file(TARGET, tmp_path, port):
            assert find_and_print_dev_broker_address([f"localhost:{port}"], tmp_path, TARGET) is None
        assert capsys.readouterr().err == ""

    def test_is_unchanged_after_dev_has_ended(self, tmp_path: Path, port: int) -> None:
        with write_broker_port_file(TARGET, tmp_path, port):
            pass
        assert find_and_print_dev_broker_address(CONFIGURED, tmp_path, TARGET) is None

    def test_is_unchanged_after_dev_was_killed(self, tmp_path: Path, port: int) -> None:
        with closed_port() as ended, write_broker_port_file(TARGET, tmp_path, ended):
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path, TARGET) is None

    def test_is_unchanged_if_the_environment_has_one(
        self, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EVKAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
        with write_broker_port_file(TARGET, tmp_path, port):
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path, TARGET) is None

    def test_is_unchanged_for_an_app_of_another_name_or_directory(self, tmp_path: Path, port: int) -> None:
        with write_broker_port_file(TARGET, tmp_path, port):
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path, "billing:app") is None
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path / "elsewhere", TARGET) is None

    def test_without_an_app_is_that_of_the_only_dev_in_the_directory(self, tmp_path: Path, port: int) -> None:
        with write_broker_port_file(TARGET, tmp_path, port):
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path) == f"127.0.0.1:{port}"
            with write_broker_port_file("billing:app", tmp_path, port):
                assert find_and_print_dev_broker_address(CONFIGURED, tmp_path) is None

    def test_is_not_told_without_a_writable_cache_directory(
        self, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("EVKAFKA_CACHE_DIR", str(tmp_path / "file"))
        with write_broker_port_file(TARGET, tmp_path, port):
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path, TARGET) is None


class TestTheRegistry:
    @pytest.fixture(autouse=True)
    def without_a_url(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(REGISTRY_VARIABLE, "")  # so that it is removed after the test
        monkeypatch.delenv(REGISTRY_VARIABLE)

    def test_of_dev_is_in_the_environment_when_the_app_is_imported(
        self, tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = write_app(tmp_path, "localhost:9092")
        module = tmp_path / "shop_of_dev.py"
        module.write_text(f"import os\nURL = os.environ[{REGISTRY_VARIABLE!r}]\n{module.read_text()}")
        url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        with write_registry_port_file(TARGET, tmp_path, port):
            load_env_file_and_app(options)
        assert url == sys.modules["shop_of_dev"].URL
        assert capsys.readouterr().err == f"evkafka: using the schema registry of `evkafka dev`: {url}\n"

    def test_of_the_environment_is_kept(self, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(REGISTRY_VARIABLE, "http://registry:8081")
        with write_registry_port_file(TARGET, tmp_path, port):
            load_env_file_and_app(write_app(tmp_path, "localhost:9092"))
        assert os.environ[REGISTRY_VARIABLE] == "http://registry:8081"

    def test_of_another_app_or_one_that_has_ended_is_not_used(self, tmp_path: Path, port: int) -> None:
        options = write_app(tmp_path, "localhost:9092")
        with (
            closed_port() as ended,
            write_registry_port_file("billing:app", tmp_path, port),
            write_registry_port_file(TARGET, tmp_path, ended),
        ):
            load_env_file_and_app(options)
        assert REGISTRY_VARIABLE not in os.environ

    def test_is_no_broker(self, tmp_path: Path, port: int) -> None:
        with write_registry_port_file(TARGET, tmp_path, port):
            assert find_and_print_dev_broker_address(CONFIGURED, tmp_path) is None
