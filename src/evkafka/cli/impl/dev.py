"""`evkafka dev`: starts a real Kafka, and runs the app on it."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evkafka.cli.app_loader import check_module_exists
from evkafka.cli.dev_broker import (
    REGISTRY_DIRECTORY,
    REGISTRY_VARIABLE,
    write_broker_port_file,
    write_registry_port_file,
)
from evkafka.cli.impl.reload import check_reload_and_find_directories, run_reloading
from evkafka.cli.impl.run import run_app
from evkafka.cli.impl.run_options import RunOptions
from evkafka.exceptions import ConfigError
from evkafka.web import missing_packages
from evkafka.web.component import TOKEN_VARIABLE

if TYPE_CHECKING:
    from evkafka.broker.local_server import LocalServer

USUAL_PORT = 9092
USUAL_REGISTRY_PORT = 8081

ServerT = TypeVar("ServerT", bound="LocalServer")


@dataclass(frozen=True, slots=True)
class DevServers:
    """What `evkafka dev` starts besides the app.

    Attributes:
        broker_port: None for the usual one, or a free one if that is taken.
        data: the directory of topics, offsets and schemas; None deletes them at the end.
        registry: whether a schema registry is started.
    """

    broker_port: int | None
    data: Path | None
    registry: bool


def run_dev(options: RunOptions, servers: DevServers, *, reload: bool, directories: Sequence[Path]) -> int:
    """Run the app until it is stopped. Returns its exit code.

    Raises:
        ConfigError, BrokerError: an extra is missing, a server could not start, or the target is no app.
    """
    broker = options.bootstrap_servers is None
    _require_extras(broker=broker, registry=servers.registry, reload=reload, web=options.web is not False)
    if reload:
        check_reload_and_find_directories(options, directories)
    else:
        check_module_exists(options.target, options.app_dir)
    with (
        _start_broker_unless_servers_given(options, servers) as bootstrap_servers,
        _start_registry_if_requested(options, servers),
    ):
        web = not missing_packages() if options.web is None else options.web
        options = replace(options, bootstrap_servers=bootstrap_servers, web=web)
        # The token stays the same after a reload, so that a browser stays logged in.
        os.environ.setdefault(TOKEN_VARIABLE, secrets.token_urlsafe(12))
        if reload:
            return run_reloading(options, directories)
        run_app(options)
        return 0


def _require_extras(*, broker: bool, registry: bool, reload: bool, web: bool) -> None:
    """Check, before Kafka starts, that the extras of the wanted parts are installed. The dashboard is optional: only
    other extras need to be.

    Raises:
        ConfigError: one is not; the message names all that are missing.
    """
    missing = [
        extra
        for extra, wanted, package in (("broker", broker or registry, "jgo"), ("reload", reload, "watchfiles"))
        if wanted and find_spec(package) is None
    ]
    if not missing:
        return
    if web and missing_packages():
        missing.append("web")
    without = "--bootstrap-servers without --registry" if registry else "--bootstrap-servers"
    instead = " and ".join(
        option for extra, option in (("broker", without), ("reload", "--no-reload")) if extra in missing
    )
    raise ConfigError(
        f"evkafka dev needs extras that are not installed: pip install 'evkafka[{','.join(missing)}]', or use {instead}"
    )


@contextmanager
def _start_broker_unless_servers_given(options: RunOptions, servers: DevServers) -> Iterator[str]:
    if options.bootstrap_servers is not None:
        yield options.bootstrap_servers
        return
    from evkafka.broker import KafkaBroker

    print("Starting Apache Kafka...", file=sys.stderr, flush=True)
    properties: Mapping[str, Any] = {"auto.create.topics.enable": False}
    broker = _start_broker_or_registry_on_free_port(
        lambda port: KafkaBroker(port, data_dir=servers.data, properties=properties), servers.broker_port
    )
    try:
        print(f"Apache Kafka is ready: {broker.bootstrap_servers}", file=sys.stderr, flush=True)
        with write_broker_port_file(options.target, options.app_dir, broker.port):
            yield broker.bootstrap_servers
    finally:
        broker.stop()


@contextmanager
def _start_registry_if_requested(options: RunOptions, servers: DevServers) -> Iterator[None]:
    """Start the schema registry, if one is wanted. The app finds its address in the environment."""
    if not servers.registry:
        yield
        return
    from evkafka.broker import LocalRegistry

    print("Starting the schema registry...", file=sys.stderr, flush=True)
    data = None if servers.data is None else servers.data / REGISTRY_DIRECTORY
    registry = _start_broker_or_registry_on_free_port(
        lambda port: LocalRegistry(port, data_dir=data), None, usual=USUAL_REGISTRY_PORT
    )
    try:
        print(f"The schema registry is ready: {registry.url}", file=sys.stderr, flush=True)
        os.environ[REGISTRY_VARIABLE] = registry.url
        with write_registry_port_file(options.target, options.app_dir, registry.port):
            yield
    finally:
        registry.stop()


def _start_broker_or_registry_on_free_port(
    create: Callable[[int | None], ServerT], port: int | None, *, usual: int = USUAL_PORT
) -> ServerT:
    """A server on this port; None: on its usual port, or a free one if another program has that."""
    server = create(usual if port is None else port)
    try:
        return server.start()
    except ConfigError:
        if port is not None:
            raise
    return create(None).start()
