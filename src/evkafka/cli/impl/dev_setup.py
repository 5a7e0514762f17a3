"""What `evkafka dev` does in the app's process before the app starts: topics, a free port, and the box."""

from __future__ import annotations

import asyncio
import logging
import socket

from evkafka.app import EVKafkaApp
from evkafka.cli.impl.dev_box import print_box
from evkafka.cli.impl.run_options import RunOptions
from evkafka.cli.impl.topic_plan import create_missing

logger = logging.getLogger("evkafka.cli")

NEXT_PORTS = 10
"""How many ports are tried, from the app's own on."""


def set_up_dev(app: EVKafkaApp, options: RunOptions) -> None:
    """Create the missing topics, and print the box."""
    assert options.new_topic_partitions is not None
    assert options.bootstrap_servers is not None
    if app.web and options.port in (None, 0):
        app.web_port = _free_port(app.web_host, app.web_port)
    for name in asyncio.run(create_missing(app, partitions=options.new_topic_partitions)):
        logger.info("created topic %s", name)
    print_box(app, options.bootstrap_servers)
    if options.log_level == "info":
        logging.getLogger("evkafka.web").setLevel(logging.WARNING)  # the box has the addresses


def _free_port(host: str, first: int) -> int:
    """The app's port, or another one if another program has it.

    The next ports are tried in order: the port stays the same after a reload, and so does the browser's tab.
    """
    for port in (*range(first, first + NEXT_PORTS), 0) if first else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    return first  # the server's own error says why it cannot listen
