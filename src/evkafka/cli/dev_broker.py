"""Finds the broker and the schema registry of a running `evkafka dev`, so that the other commands connect to them.

If another program has port 9092, the broker of `evkafka dev` listens on a free port, while the app's configuration
still names localhost:9092. A file in the user's cache directory has the port for as long as `evkafka dev` runs.

An app whose configuration names another machine is never redirected, and neither is one whose address comes from the
environment: what is configured for production stays so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from evkafka.app import EVKafkaApp
from evkafka.cli.redirect import redirect_app_to_brokers
from evkafka.config import producer_settings

CONNECT_TIMEOUT_S = 1.0
REGISTRY_VARIABLE = "EVKAFKA_SCHEMA_REGISTRY_URL"
"""The environment variable in which `evkafka dev` gives the app the URL of the schema registry that it has started."""

REGISTRY_DIRECTORY = "registry"
"""The directory of the schemas, in the directory of topics and offsets."""

LOCAL_HOSTS = ("localhost", "127.0.0.1")


def write_broker_port_file(target: str, app_dir: Path, port: int) -> AbstractContextManager[None]:
    """Keep the broker's port in a file, where the other commands find it, until the exit. Without a writable cache
    directory there is no file."""
    return _write_port_file(_port_file_directory(app_dir) / _hash_text(target), port)


def write_registry_port_file(target: str, app_dir: Path, port: int) -> AbstractContextManager[None]:
    """The same for the port of the schema registry."""
    return _write_port_file(_registry_port_file(target, app_dir), port)


@contextmanager
def _write_port_file(file: Path, port: int) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(port), encoding="utf-8")
    except OSError:
        yield
        return
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def use_dev_registry(target: str, app_dir: Path) -> None:
    """Give the app the URL of the schema registry of `evkafka dev`, if that runs this app and the environment has no
    URL. Call it before the app is imported."""
    if REGISTRY_VARIABLE in os.environ or (port := _read_port(_registry_port_file(target, app_dir))) is None:
        return
    from evkafka.broker.registry import url_of

    os.environ[REGISTRY_VARIABLE] = url_of(port)
    print(f"evkafka: using the schema registry of `evkafka dev`: {url_of(port)}", file=sys.stderr)


def redirect_app_to_dev_broker(app: EVKafkaApp, target: str, app_dir: Path) -> None:
    """Redirect the app to the broker of `evkafka dev`, if that runs this app and the app names another local port."""
    if found := find_and_print_dev_broker_address(_configured_servers(app), app_dir, target):
        redirect_app_to_brokers(app, found, keep_login=False)


def find_and_print_dev_broker_address(
    configured: Sequence[str], app_dir: Path, target: str | None = None
) -> str | None:
    """The address of the broker, which is also printed; None if the configured addresses hold.

    Args:
        target: the app; None for the only one that `evkafka dev` runs in this directory.
    """
    servers = _find_dev_broker_address(configured, app_dir, target)
    if servers is not None:
        print(f"evkafka: using the broker of `evkafka dev`: {servers}", file=sys.stderr)
    return servers


def does_app_option_connect_to_servers(app: EVKafkaApp, servers: str, target: str, app_dir: Path) -> bool:
    """Whether commands with `--app` connect to these servers."""
    configured = _configured_servers(app)
    found = _find_dev_broker_address(configured, app_dir, target)
    return _normalize_addresses(configured if found is None else [found]) == _normalize_addresses(servers.split(","))


def _configured_servers(app: EVKafkaApp) -> list[str]:
    connections = [one.settings.connection for one in app.consumers.values()]
    connections += [producer_settings(one.config).connection for one in app.producers.values()]
    return sorted({server for one in connections for server in one.bootstrap_servers})


def _find_dev_broker_address(configured: Sequence[str], app_dir: Path, target: str | None) -> str | None:
    if _is_broker_named_in_environment() or not all(_host_of(server) in LOCAL_HOSTS for server in configured):
        return None
    port = _find_broker_port(app_dir, target)
    if port is None or all(_port_of(server) == str(port) for server in configured):
        return None
    return f"127.0.0.1:{port}"


def _normalize_addresses(servers: Sequence[str]) -> set[tuple[str, str]]:
    """Host and port of each; the names of this machine are one."""
    return {(LOCAL_HOSTS[0] if _host_of(one) in LOCAL_HOSTS else _host_of(one), _port_of(one)) for one in servers}


def _is_broker_named_in_environment() -> bool:
    return any(name.startswith("EVKAFKA_") and name.endswith("BOOTSTRAP_SERVERS") for name in os.environ)


def _host_of(server: str) -> str:
    return server.rpartition(":")[0]


def _port_of(server: str) -> str:
    return server.rpartition(":")[2]


def _find_broker_port(app_dir: Path, target: str | None) -> int | None:
    directory = _port_file_directory(app_dir)
    files = sorted(directory.glob("*")) if target is None else [directory / _hash_text(target)]
    ports = [port for file in files if (port := _read_port(file)) is not None]
    return ports[0] if len(ports) == 1 else None


def _read_port(file: Path) -> int | None:
    """The port; None without a broker: a killed `evkafka dev` leaves its file behind."""
    with contextlib.suppress(OSError, ValueError):
        port = int(file.read_text(encoding="utf-8"))
        with contextlib.suppress(OverflowError), socket.create_connection(("127.0.0.1", port), CONNECT_TIMEOUT_S):
            return port
    return None


def _port_file_directory(app_dir: Path) -> Path:
    from evkafka.broker.maven import cache_dir

    return cache_dir() / "dev" / _hash_text(str(app_dir.expanduser().resolve()))


def _registry_port_file(target: str, app_dir: Path) -> Path:
    return _port_file_directory(app_dir) / "registry" / _hash_text(target)


def _hash_text(text: str) -> str:
    """The name of a file or directory for this target, or path."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:24]
