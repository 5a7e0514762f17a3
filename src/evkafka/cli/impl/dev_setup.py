"""What `evkafka dev` does in the app's process before the app starts: options, a free port, topics, and the box."""

from __future__ import annotations

import asyncio
import logging
import socket

from evkafka.app import EVKafkaApp
from evkafka.cli.dev_broker import does_app_option_connect_to_servers
from evkafka.cli.impl.app_overrides import apply_options_to_app
from evkafka.cli.impl.dev_box import print_box
from evkafka.cli.impl.run_options import RunOptions, WebPort
from evkafka.cli.impl.topic_plan import create_missing_topics

logger = logging.getLogger("evkafka.cli")

NEXT_PORTS = 10
"""How many ports are tried, from the app's own on."""


def prepare_app_for_dev(app: EVKafkaApp, options: RunOptions) -> WebPort | None:
    """Change the app as the command line asks, choose the port, create the missing topics, and print the box.

    Returns the port, if it was chosen here.
    """
    assert options.new_topic_partitions is not None
    assert options.bootstrap_servers is not None
    cluster = _cluster_option_for_other_commands(app, options, options.bootstrap_servers)
    apply_options_to_app(app, options)
    port = None
    if app.web and options.port in (None, 0):
        port = choose_web_port(app.web_host, app.web_port, options.last_web_port)
        app.web_port = port.got
    for name in asyncio.run(create_missing_topics(app, partitions=options.new_topic_partitions)):
        logger.info("created topic %s", name)
    print_box(app, options.bootstrap_servers, cluster)
    if options.log_level == "info":
        logging.getLogger("evkafka.web").setLevel(logging.WARNING)  # the box has the addresses
    return port


def _cluster_option_for_other_commands(app: EVKafkaApp, options: RunOptions, servers: str) -> str:
    """The option with which other commands connect to this broker; with `--app` they also check payloads.

    Call it before the brokers of the app are replaced: the other commands import the app as it is.
    """
    reached = does_app_option_connect_to_servers(app, servers, options.target, options.app_dir)
    return options.app_options_for_other_commands if reached else f"--bootstrap-servers {servers}"


def choose_web_port(host: str, wanted: int, last: WebPort | None) -> WebPort:
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
