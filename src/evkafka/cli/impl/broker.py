"""`evkafka broker`: runs Kafka, and a schema registry, in the foreground."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from evkafka.broker import KafkaBroker, LocalRegistry
from evkafka.broker.local_server import LocalServer
from evkafka.cli.dev_broker import REGISTRY_DIRECTORY
from evkafka.exceptions import ConfigError


def run_broker(
    port: int, *, data_dir: Path | None, properties: Sequence[str], registry_port: int | None, quiet: bool
) -> None:
    """Run Kafka, and a schema registry, until a signal.

    Args:
        registry_port: None for no registry.

    Raises:
        ConfigError, BrokerError: one of them could not start.
        SystemExit: with 1, if one of them ended by itself.
    """
    broker = KafkaBroker(port, data_dir=data_dir, properties=_parse_properties(properties))
    registry_dir = None if data_dir is None else data_dir / REGISTRY_DIRECTORY
    registry = None if registry_port is None else LocalRegistry(registry_port, data_dir=registry_dir)
    servers: dict[str, LocalServer] = {"Kafka": broker} | ({} if registry is None else {"The registry": registry})
    _interrupt_on_signals()
    try:
        _print_unless_quiet("Starting Apache Kafka...", quiet=quiet)
        broker.start()
        if registry is not None:
            _print_unless_quiet("Starting the schema registry...", quiet=quiet)
            registry.start()
        _print_addresses(broker, registry, data_dir, quiet=quiet)
        _wait_for_first_exit_and_print_log(servers)
        raise SystemExit(1)
    except KeyboardInterrupt:
        _print_unless_quiet("Stopping Apache Kafka...", quiet=quiet)
    finally:
        for server in reversed(servers.values()):
            _stop_server_or_kill_on_interrupt(server)


def _wait_for_first_exit_and_print_log(servers: Mapping[str, LocalServer]) -> None:
    """Return when one of them has exited, and print the end of its log."""
    while True:
        for name, server in servers.items():
            if server.wait(1.0 / len(servers)):  # short waits, because on Windows Ctrl-C does not interrupt a wait
                print(f"evkafka: {name} exited. The end of its log:\n{server.log_tail()}", file=sys.stderr)
                return


def _print_unless_quiet(text: str, *, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def _print_addresses(
    broker: KafkaBroker, registry: LocalRegistry | None, data_dir: Path | None, *, quiet: bool
) -> None:
    if quiet:
        print(broker.bootstrap_servers, *([registry.url] if registry is not None else []), sep="\n", flush=True)
        return
    data = f"kept in {data_dir}" if data_dir else "temporary, deleted at the end (--data DIR keeps it)"
    print(f"Apache Kafka is ready: bootstrap_servers = {broker.bootstrap_servers}")
    if registry is not None:
        print(f"The schema registry is ready: {registry.url}")
    print(f"  data    {data}")
    print("  topics  are created at the first use (--property auto.create.topics.enable=false: they are not)")
    print("Ctrl-C stops it.", flush=True)


def _stop_server_or_kill_on_interrupt(server: LocalServer) -> None:
    try:
        server.stop()
    except KeyboardInterrupt:  # a second Ctrl-C ends it at once
        server.kill()
        server.stop()


def _interrupt_on_signals() -> None:
    """End this command at SIGTERM, and when its terminal is closed, as at Ctrl-C."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts background jobs with SIGINT ignored, and `kill -INT` should still work.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


def _parse_properties(properties: Sequence[str]) -> dict[str, str | int | float | bool]:
    pairs: dict[str, str | int | float | bool] = {}
    for text in properties:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--property {text!r} is not KEY=VALUE, as in num.partitions=6")
        pairs[key.strip()] = value.strip()
    return pairs
