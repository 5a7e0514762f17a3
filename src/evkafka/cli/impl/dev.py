"""`evkafka dev`: starts a real Kafka, and runs the app on it."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from evkafka.cli.app_loader import require_module
from evkafka.cli.dev_broker import announced
from evkafka.cli.impl.dev_checks import require_extras
from evkafka.cli.impl.reload import check_reload, run_reloading
from evkafka.cli.impl.run import run_app
from evkafka.cli.impl.run_options import RunOptions
from evkafka.exceptions import BrokerError, ConfigError
from evkafka.web import missing_packages
from evkafka.web.component import TOKEN_VARIABLE

USUAL_PORT = 9092


def run_dev(
    options: RunOptions, *, reload: bool, directories: Sequence[Path], broker_port: int | None, data: Path | None
) -> int:
    """Run the app until it is stopped. Returns its exit code.

    Raises:
        ConfigError, BrokerError: an extra is missing, the broker could not start, or the target is no app.
    """
    require_extras(broker=options.bootstrap_servers is None, reload=reload, web=options.web is not False)
    if reload:
        check_reload(options, directories)
    else:
        require_module(options.target, options.app_dir)
    with _broker(options, broker_port, data) as servers:
        web = not missing_packages() if options.web is None else options.web
        options = replace(options, bootstrap_servers=servers, web=web)
        # The token stays the same after a reload, so that a browser stays logged in.
        os.environ.setdefault(TOKEN_VARIABLE, secrets.token_urlsafe(12))
        if reload:
            return run_reloading(options, directories)
        run_app(options)
        return 0


@contextmanager
def _broker(options: RunOptions, port: int | None, data: Path | None) -> Iterator[str]:
    if options.bootstrap_servers is not None:
        yield options.bootstrap_servers
        return
    from evkafka.broker import KafkaBroker

    print("Starting Apache Kafka...", file=sys.stderr, flush=True)
    properties: Mapping[str, Any] = {"auto.create.topics.enable": False}
    broker = KafkaBroker(USUAL_PORT if port is None else port, data_dir=data, properties=properties)
    try:
        broker.start()
    except BrokerError:
        raise
    except ConfigError:
        if port is not None:
            raise
        broker = KafkaBroker(data_dir=data, properties=properties)  # another program has the usual port
        broker.start()
    try:
        print(f"Apache Kafka is ready: {broker.bootstrap_servers}", file=sys.stderr, flush=True)
        with announced(options.target, options.app_dir, broker.port):
            yield broker.bootstrap_servers
    finally:
        broker.stop()
