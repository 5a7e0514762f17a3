"""`evkafka broker`: Kafka in the foreground."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from evkafka.broker import KafkaBroker
from evkafka.exceptions import ConfigError


def run_broker(port: int, *, data_dir: Path | None, properties: Sequence[str], quiet: bool) -> None:
    """Returns after a signal.

    Raises:
        ConfigError, BrokerError: it could not start.
        SystemExit: with 1, when Kafka ended by itself.
    """
    broker = KafkaBroker(port, data_dir=data_dir, properties=_pairs(properties))
    _signals_interrupt()
    try:
        if not quiet:
            print("Starting Apache Kafka...", file=sys.stderr, flush=True)
        broker.start()
        _announce(broker, data_dir, quiet=quiet)
        while not broker.wait(1.0):  # in short waits, since on Windows a long one would not hear Ctrl-C
            pass
        print(f"evkafka: Kafka has ended by itself. The end of its log:\n{broker.log_tail()}", file=sys.stderr)
        raise SystemExit(1)
    except KeyboardInterrupt:
        if not quiet:
            print("Stopping Apache Kafka...", file=sys.stderr, flush=True)
    finally:
        _stop(broker)


def _announce(broker: KafkaBroker, data_dir: Path | None, *, quiet: bool) -> None:
    if quiet:
        print(broker.bootstrap_servers, flush=True)
        return
    data = f"kept in {data_dir}" if data_dir else "temporary, gone at the end (--data DIR keeps it)"
    print(f"Apache Kafka is ready: bootstrap_servers = {broker.bootstrap_servers}")
    print(f"  data    {data}")
    print("  topics  are created when first written to (--property auto.create.topics.enable=false: they are not)")
    print("Ctrl-C stops it.", flush=True)


def _stop(broker: KafkaBroker) -> None:
    try:
        broker.stop()
    except KeyboardInterrupt:  # a second Ctrl-C: no more patience
        broker.kill()
        broker.stop()


def _signals_interrupt() -> None:
    """SIGTERM, and a closed terminal, end this command the way Ctrl-C does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts background jobs with it ignored, and `kill -INT` should still work.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


def _pairs(properties: Sequence[str]) -> dict[str, str | int | float | bool]:
    pairs: dict[str, str | int | float | bool] = {}
    for given in properties:
        key, equals, value = given.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--property {given!r} is not KEY=VALUE, as in num.partitions=6")
        pairs[key.strip()] = value.strip()
    return pairs
