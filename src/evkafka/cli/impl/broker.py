"""`evkafka broker`: runs Kafka in the foreground."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from evkafka.broker import KafkaBroker
from evkafka.exceptions import ConfigError


def run_broker(port: int, *, data_dir: Path | None, properties: Sequence[str], quiet: bool) -> None:
    """Run Kafka until a signal.

    Raises:
        ConfigError, BrokerError: Kafka could not start.
        SystemExit: with 1, if Kafka ended by itself.
    """
    broker = KafkaBroker(port, data_dir=data_dir, properties=_parse_properties(properties))
    _interrupt_on_signals()
    try:
        if not quiet:
            print("Starting Apache Kafka...", file=sys.stderr, flush=True)
        broker.start()
        _print_address(broker, data_dir, quiet=quiet)
        while not broker.wait(1.0):  # short waits, because on Windows Ctrl-C does not interrupt a wait
            pass
        print(f"evkafka: Kafka exited. The end of its log:\n{broker.log_tail()}", file=sys.stderr)
        raise SystemExit(1)
    except KeyboardInterrupt:
        if not quiet:
            print("Stopping Apache Kafka...", file=sys.stderr, flush=True)
    finally:
        _stop(broker)


def _print_address(broker: KafkaBroker, data_dir: Path | None, *, quiet: bool) -> None:
    if quiet:
        print(broker.bootstrap_servers, flush=True)
        return
    data = f"kept in {data_dir}" if data_dir else "temporary, deleted at the end (--data DIR keeps it)"
    print(f"Apache Kafka is ready: bootstrap_servers = {broker.bootstrap_servers}")
    print(f"  data    {data}")
    print("  topics  are created at the first use (--property auto.create.topics.enable=false: they are not)")
    print("Ctrl-C stops it.", flush=True)


def _stop(broker: KafkaBroker) -> None:
    try:
        broker.stop()
    except KeyboardInterrupt:  # a second Ctrl-C ends it at once
        broker.kill()
        broker.stop()


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
