"""What `evkafka dev` does in the app's process before the app starts: topics, a free port, and the box."""

from __future__ import annotations

import asyncio
import logging
import socket

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.dev_box import print_box
from evkafka.cli.impl.run_options import RunOptions, WebPort
from evkafka.cli.impl.topic_plan import create_missing

logger = logging.getLogger("evkafka.cli")

NEXT_PORTS = 10
"""How many ports are tried, from the app's own on."""


def set_up_dev(app: EVKafkaApp, options: RunOptions) -> WebPort | None:
    """Choose the port, create the missing topics, and print the box. Returns the port, if it was chosen here."""
    assert options.new_topic_partitions is not None
    assert options.bootstrap_servers is not None
    port = None
    if app.web and options.port in (None, 0):
        port = choose_port(app.web_host, app.web_port, options.last_web_port)
        app.web_port = port.got
    for name in asyncio.run(create_missing(app, partitions=options.new_topic_partitions)):
        logger.info("created topic %s", name)
    print_box(app, options.bootstrap_servers)
    if options.log_level == "info":
        logging.getLogger("evkafka.web").setLevel(logging.WARNING)  # the box has the addresses
    return port


def choose_port(host: str, wanted: int, last: WebPort | None) -> WebPort:
    """The app's port, or another one if another program has it. 0 wants any.

    The port before a reload is tried first, unless the app wants another one since: a browser's tab stays valid.
    """
    tried = [last.got] if last is not None and last.wanted == wanted else []
    tried += [*range(wanted, wanted + NEXT_PORTS)] if wanted else []
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (*tried, 0):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except (OSError, OverflowError):  # taken, or above 65535
                continue
            return WebPort(wanted, probe.getsockname()[1])
    return WebPort(wanted, wanted)  # the server's own error says why it cannot listen
